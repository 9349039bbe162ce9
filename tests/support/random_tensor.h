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

namespace shardora::support {

using Vector = std::vector<double>;

// What honest fp32 arithmetic may lose, relative to the largest element expected.
inline constexpr double kFp32 = 2e-6;

// Bounds that no power of two divides, so that products are rarely exact. Rounded to fp32: both sides see one number.
inline Vector random_vector(std::int64_t count, unsigned seed, double low = -1.1, double high = 1.3) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  Vector values(static_cast<std::size_t>(count));
  for (double& value : values) value = static_cast<float>(draw(engine));
  return values;
}

class KernelTest : public ::testing::Test {
 protected:
  // A tensor of the backend's memory that lives as long as the test.
  template <class T, class Source>
  TensorView make(Shape shape, const std::vector<Source>& values) {
    std::vector<T> converted(values.size());
    std::transform(values.begin(), values.end(), converted.begin(), [](Source value) { return static_cast<T>(value); });
    const TensorView host = view_of(std::span<T>(converted), shape);
    buffers_.emplace_back(*backend_, std::max<std::int64_t>(64, host.bytes()));  // never null: null means "not given"
    const TensorView device{buffers_.back().data(), host.dtype, shape};
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
