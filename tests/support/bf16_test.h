// Operations on bfloat16 activations, on the GPU's backend, against the same operation in fp32 on the CPU's. A test
// says once what it does, on a side; it is run on both, from the same numbers, and its outputs are compared:
//
//   expect_as_on_cpu([&](Side& side) {
//     const TensorView y = side.unwritten_activations({rows, width});
//     some_operation(side.backend(), {.x = side.activations({rows, width}, x), .gain = side.floats(gain), .y = y});
//     return Outputs{{"y", y}};
//   });
#pragma once

#include "kernels/float_types.h"
#include "tests/support/random_tensor.h"

namespace shardora::support {

// What rounding to bfloat16 may lose, relative to the largest element: half of it at the end, half on the way.
inline constexpr double kBf16 = 1.0 / 256;

inline Vector rounded_to_bf16(Vector values) {
  for (double& value : values) value = float_from_bf16(bf16_from_float(static_cast<float>(value)));
  return values;
}

// A backend and the type of its activations. Tensors live as long as the side.
class Side {
 public:
  Side(Backend& backend, DType activations) : backend_(backend), activations_(activations) {}
  Backend& backend() { return backend_; }
  DType activation_type() const { return activations_; }

  // Rounded to bfloat16 on either side: both see one number.
  TensorView activations(const Shape& shape, const Vector& values) {
    if (activations_ == DType::kF32) return floats(shape, rounded_to_bf16(values));
    std::vector<std::uint16_t> bits;
    for (const double value : values) bits.push_back(bf16_from_float(static_cast<float>(value)));
    return place({bits.data(), DType::kBF16, shape}, std::ssize(values));
  }
  TensorView floats(const Shape& shape, const Vector& values) { return make<float>(shape, values); }
  TensorView floats(const Vector& values) { return floats({std::ssize(values)}, values); }
  template <class T, class Source>
  TensorView make(const Shape& shape, const std::vector<Source>& values) {
    std::vector<T> converted(values.size());
    std::transform(values.begin(), values.end(), converted.begin(), [](Source value) { return static_cast<T>(value); });
    return place({converted.data(), dtype_of<T>(), shape}, std::ssize(values));
  }
  TensorView ints(const std::vector<std::int64_t>& values) { return make<std::int32_t>({std::ssize(values)}, values); }
  // Filled with a number that no result has.
  TensorView unwritten_activations(const Shape& shape) {
    return activations(shape, Vector(index(shape.elements()), 1e30));
  }
  TensorView unwritten(const Shape& shape) { return floats(shape, Vector(index(shape.elements()), 1e30)); }

  Vector read(TensorView device) {
    if (device.dtype == DType::kF32) return read_as<float>(device, [](float value) { return value; });
    if (device.dtype == DType::kF64) return read_as<double>(device, [](double value) { return value; });
    SHARDORA_CHECK(device.dtype == DType::kBF16);
    return read_as<std::uint16_t>(device, [](std::uint16_t bits) { return float_from_bf16(bits); });
  }

 private:
  TensorView place(TensorView host, std::int64_t count) {
    SHARDORA_CHECK(count == host.elements());
    buffers_.emplace_back(backend_, std::max<std::int64_t>(1, host.bytes()));  // never null: null means "not given"
    const TensorView device{buffers_.back().data(), host.dtype, host.shape};
    backend_.copy_from_host(device, host);
    backend_.synchronize();
    return device;
  }
  template <class T, class Widen>
  Vector read_as(TensorView device, const Widen& widen) {
    std::vector<T> values(index(device.elements()));
    backend_.copy_to_host({values.data(), device.dtype, device.shape}, device);
    backend_.synchronize();
    Vector wide;
    for (const T value : values) wide.push_back(widen(value));
    return wide;
  }

  Backend& backend_;  // not owned
  DType activations_;
  std::vector<DeviceBuffer> buffers_;
};

struct Output {
  const char* name;
  TensorView view;
  // Relative to the largest element, or to `scale` where terms larger than the results cancel. 0: kBf16 or kFp32, as
  // the output's type is on the device.
  double tolerance = 0, scale = 1e-30;
};
using Outputs = std::vector<Output>;

class Bf16Test : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    if (backend_->kind() != BackendKind::kCuda) GTEST_SKIP() << "activations are bfloat16 on the GPU's backend only";
    reference_ = make_backend(BackendKind::kCpu, {.threads = 2});
  }

  void expect_as_on_cpu(const std::function<Outputs(Side&)>& operation) {
    Side device(*backend_, DType::kBF16), cpu(*reference_, DType::kF32);
    const Outputs actual = operation(device), expected = operation(cpu);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const Output& output = actual[i];
      const double rounding = output.view.dtype == DType::kBF16 ? kBf16 : kFp32;
      expect_close(device.read(output.view), cpu.read(expected[i].view),
                   output.tolerance > 0 ? output.tolerance : rounding, output.name, output.scale);
    }
  }

  std::unique_ptr<Backend> reference_;
};

}  // namespace shardora::support
