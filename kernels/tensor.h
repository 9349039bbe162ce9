// TensorView: a pointer, a shape and a type. It never owns; copying it copies the view.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "kernels/check.h"
#include "kernels/inline.h"

namespace shardora {

enum class DType : std::uint8_t { kF32, kBF16, kF16, kF64, kI32, kI64, kU8 };

SHARDORA_HOST_INLINE constexpr std::int64_t size_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

template <class T>
DType dtype_of() = delete;
template <>
SHARDORA_HOST_INLINE constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
SHARDORA_HOST_INLINE constexpr DType dtype_of<double>() {
  return DType::kF64;
}
template <>
SHARDORA_HOST_INLINE constexpr DType dtype_of<std::int32_t>() {
  return DType::kI32;
}
template <>
SHARDORA_HOST_INLINE constexpr DType dtype_of<std::int64_t>() {
  return DType::kI64;
}
template <>
SHARDORA_HOST_INLINE constexpr DType dtype_of<std::uint8_t>() {
  return DType::kU8;
}

// Up to four dimensions, row-major, sizes >= 0.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  SHARDORA_HOST_INLINE Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span(sizes.begin(), sizes.size())) {}
  SHARDORA_HOST_INLINE explicit Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    SHARDORA_CHECK(sizes.size() <= kMaxRank);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      SHARDORA_CHECK(sizes[i] >= 0);
      sizes_[i] = sizes[i];
    }
  }
  SHARDORA_HOST_INLINE int rank() const { return rank_; }
  SHARDORA_HOST_INLINE std::int64_t operator[](int axis) const {
    SHARDORA_CHECK(axis >= 0 && axis < rank_);
    return sizes_[static_cast<std::size_t>(axis)];
  }
  SHARDORA_HOST_INLINE std::int64_t elements() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= sizes_[static_cast<std::size_t>(i)];
    return product;
  }
  SHARDORA_HOST_INLINE std::span<const std::int64_t> sizes() const {
    return {sizes_.data(), static_cast<std::size_t>(rank_)};
  }
  SHARDORA_HOST_INLINE bool operator==(const Shape& other) const = default;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};  // unused places stay 0, so that == compares shapes
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[3, 64]"

struct TensorView {
  void* data = nullptr;  // not owned
  DType dtype = DType::kF32;
  Shape shape;

  SHARDORA_HOST_INLINE explicit operator bool() const { return data != nullptr; }
  SHARDORA_HOST_INLINE std::int64_t size(int axis) const { return shape[axis]; }
  SHARDORA_HOST_INLINE std::int64_t elements() const { return shape.elements(); }
  SHARDORA_HOST_INLINE std::int64_t bytes() const { return elements() * size_bytes(dtype); }

  template <class T>
  SHARDORA_HOST_INLINE T* as() const {
    SHARDORA_CHECK(dtype == dtype_of<T>());
    return static_cast<T*>(data);
  }
  template <class T>
  std::span<T> span() const {
    return {as<T>(), static_cast<std::size_t>(elements())};
  }
  // Rows [first, first + count) along axis 0.
  TensorView rows(std::int64_t first, std::int64_t count) const {
    SHARDORA_CHECK(shape.rank() >= 1 && first >= 0 && count >= 0 && first + count <= size(0));
    const std::int64_t row_bytes = size(0) == 0 ? 0 : bytes() / size(0);
    std::array<std::int64_t, Shape::kMaxRank> sizes{};
    for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(i)] = size(i);
    sizes[0] = count;
    return {static_cast<std::byte*>(data) + first * row_bytes, dtype,
            Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(shape.rank())))};
  }
  TensorView reshaped(Shape to) const {
    SHARDORA_CHECK(to.elements() == elements());
    return {data, dtype, to};
  }
};

// A view of host memory that the caller keeps alive.
template <class T>
TensorView view_of(std::span<T> values, Shape shape) {
  SHARDORA_CHECK(static_cast<std::int64_t>(values.size()) == shape.elements());
  return {const_cast<std::remove_const_t<T>*>(values.data()), dtype_of<std::remove_const_t<T>>(), shape};
}

}  // namespace shardora
