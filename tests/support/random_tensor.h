// Test tensors on any backend: made from host vectors, read back into them, compared with float64 references.
// SHARDORA_TEST_BACKEND=cuda runs the same tests on a GPU, SHARDORA_TEST_INSTRUCTION_SET=NAME at that level of a CPU.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "kernels/float_types.h"

namespace shardora::support {

using Vector = std::vector<double>;

// What honest fp32 arithmetic may lose, relative to the largest element expected.
inline constexpr double kFp32 = 2e-6;
// What rounding to bfloat16 may lose, likewise: half of it at the end, half on the way.
inline constexpr double kBf16 = 1.0 / 256;

// Bounds that no power of two divides, so that products are rarely exact. Rounded to fp32: both sides see one number.
inline Vector random_vector(std::int64_t count, unsigned seed, double low = -1.1, double high = 1.3) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  Vector values(static_cast<std::size_t>(count));
  for (double& value : values) value = static_cast<float>(draw(engine));
  return values;
}

inline Vector rounded_to_bf16(Vector values) {
  for (double& value : values) value = float_from_bf16(bf16_from_float(static_cast<float>(value)));
  return values;
}

class KernelTest : public ::testing::Test {
 protected:
  // A tensor of the backend's memory that lives as long as the test.
  template <class T, class Source>
  TensorView make(Shape shape, const std::vector<Source>& values) {
    std::vector<T> converted(values.size());
    std::transform(values.begin(), values.end(), converted.begin(), [](Source value) { return static_cast<T>(value); });
    return on_device(view_of(std::span<T>(converted), shape));
  }
  TensorView on_device(TensorView host) {
    buffers_.emplace_back(*backend_, std::max<std::int64_t>(64, host.bytes()));  // never null: null means "not given"
    const TensorView device{buffers_.back().data(), host.dtype, host.shape};
    backend_->copy_from_host(device, host);
    backend_->synchronize();
    return device;
  }
  TensorView floats(Shape shape, const Vector& values) { return make<float>(shape, values); }
  TensorView floats(const Vector& values) { return floats({static_cast<std::int64_t>(values.size())}, values); }
  TensorView ints(const std::vector<std::int64_t>& values) {
    return make<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
  }
  // Filled with a number that no result has: what a kernel forgets to write is seen.
  TensorView unwritten(Shape shape) { return floats(shape, Vector(static_cast<std::size_t>(shape.elements()), 1e30)); }

  template <class T = float>
  std::vector<T> read(TensorView device) {
    std::vector<T> values(static_cast<std::size_t>(device.elements()));
    backend_->copy_to_host(view_of(std::span<T>(values), device.shape), device);
    backend_->synchronize();
    return values;
  }

  void SetUp() override {
    if (!backend_) GTEST_SKIP() << "this processor lacks " << variable("SHARDORA_TEST_INSTRUCTION_SET", "");
    RecordProperty("backend", backend_->description());  // tests/gpu counts what ran on the device
  }

  std::unique_ptr<Backend> backend_ = backend_to_test();

 private:
  static std::string variable(const char* name, const char* otherwise) {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : otherwise;
  }
  static std::unique_ptr<Backend> backend_to_test() {
    const std::string level = variable("SHARDORA_TEST_INSTRUCTION_SET", "auto");
    const std::vector<std::string> here = instruction_sets();
    if (level != "auto" && std::find(here.begin(), here.end(), level) == here.end()) return nullptr;
    const BackendKind kind =
        variable("SHARDORA_TEST_BACKEND", "cpu") == "cuda" ? BackendKind::kCuda : BackendKind::kCpu;
    return make_backend(kind, {.threads = 2, .instruction_set = level});
  }
  std::vector<DeviceBuffer> buffers_;  // after backend_: released before it
};

// The tolerance is relative to the largest element expected; `scale` is for results of larger terms that cancel.
template <class T>
void expect_close(const std::vector<T>& actual, const Vector& expected, double tolerance, std::string_view what,
                  double scale = 1e-30) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]);
    // Written so that a NaN fails.
    if (!(error <= tolerance * scale)) {
      FAIL() << what << "[" << i << "] is " << actual[i] << ", expected " << expected[i] << " (scale " << scale << ")";
    }
  }
}

// Operations on activations, over their types: fp32, and bfloat16 where the program has the GPU's backend. A reference
// is computed from the numbers that the type holds, of drawn() or rounded().
class ActivationTest : public KernelTest, public ::testing::WithParamInterface<DType> {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || !narrow() || backend_->kind() == BackendKind::kCuda) return;
    GTEST_SKIP() << "activations are bfloat16 on the GPU's backend only";
  }
  static bool narrow() { return GetParam() == DType::kBF16; }
  static Vector rounded(const Vector& values) { return narrow() ? rounded_to_bf16(values) : values; }
  static Vector drawn(std::int64_t count, unsigned seed, double low = -1.1, double high = 1.3) {
    return rounded(random_vector(count, seed, low, high));
  }
  TensorView activations(const Shape& shape, const Vector& values) {
    if (!narrow()) return floats(shape, values);
    std::vector<std::uint16_t> bits;
    for (const double value : values) bits.push_back(bf16_from_float(static_cast<float>(value)));
    SHARDORA_CHECK(std::ssize(bits) == shape.elements());
    return on_device({bits.data(), DType::kBF16, shape});
  }
  TensorView unwritten_activations(const Shape& shape) {
    return activations(shape, Vector(static_cast<std::size_t>(shape.elements()), 1e30));
  }
  using KernelTest::read;
  std::vector<float> read(TensorView device) {
    if (device.dtype == DType::kF32) return KernelTest::read<float>(device);
    SHARDORA_CHECK(device.dtype == DType::kBF16);
    std::vector<std::uint16_t> bits(static_cast<std::size_t>(device.elements()));
    backend_->copy_to_host({bits.data(), DType::kBF16, device.shape}, device);
    backend_->synchronize();
    std::vector<float> values;
    for (const std::uint16_t half : bits) values.push_back(float_from_bf16(half));
    return values;
  }
  // By the type of the output: of bfloat16 activations some outputs are fp32, and lose no more than fp32 does.
  void expect_output(TensorView device, const Vector& expected, std::string_view what, double scale = 1e-30) {
    expect_close(read(device), expected, device.dtype == DType::kBF16 ? kBf16 : kFp32, what, scale);
  }
};

inline std::vector<DType> activation_types() {
  if (cuda_versions().runtime == 0) return {DType::kF32};
  return {DType::kF32, DType::kBF16};
}
inline std::string type_name(const ::testing::TestParamInfo<DType>& type) {
  return type.param == DType::kBF16 ? "bf16" : "fp32";
}
#define SHARDORA_OVER_TYPES(Suite) \
  INSTANTIATE_TEST_SUITE_P(, Suite, testing::ValuesIn(support::activation_types()), support::type_name)

// Central differences of a float64 function: an independent derivative, good to about 1e-9.
inline Vector finite_difference(const std::function<double(const Vector&)>& function, Vector point) {
  constexpr double kStep = 1e-5;
  Vector gradient(point.size());
  for (std::size_t i = 0; i < point.size(); ++i) {
    const double centre = point[i];
    point[i] = centre + kStep;
    const double above = function(point);
    point[i] = centre - kStep;
    const double below = function(point);
    point[i] = centre;
    gradient[i] = (above - below) / (2 * kStep);
  }
  return gradient;
}

inline double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace shardora::support
