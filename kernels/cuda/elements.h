// The element types of activations on the device, fp32 and bfloat16, and 16 bytes of them at a time. Arithmetic is fp32
// always: elements are widened as they are read and rounded once as they are written.
#pragma once

#include "kernels/cuda/platform.h"
#include "kernels/float_types.h"
#include "kernels/tensor.h"

namespace shardora::cuda {

struct BF16 {
  std::uint16_t bits;
};
struct F16 {  // of weights as they are given; nothing is computed or kept in it
  std::uint16_t bits;
};

SHARDORA_INLINE float to_float(float x) { return x; }
SHARDORA_INLINE float to_float(BF16 x) { return float_from_bf16(x.bits); }
SHARDORA_INLINE float to_float(F16 x) { return float_from_f16(x.bits); }

template <class T>
SHARDORA_INLINE T from_float(float x);
template <>
SHARDORA_INLINE float from_float<float>(float x) {
  return x;
}
template <>
SHARDORA_INLINE BF16 from_float<BF16>(float x) {
  return {bf16_bits(x)};
}

// 16 bytes of T, read and written at once. The address must be a multiple of 16.
template <class T>
struct alignas(16) AlignedVector {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T values[static_cast<std::size_t>(kCount)];
};
template <class T>
SHARDORA_INLINE AlignedVector<T> load_vector(const T* from) {
  return *reinterpret_cast<const AlignedVector<T>*>(from);
}
template <class T>
SHARDORA_INLINE void store_vector(T* to, const AlignedVector<T>& vector) {
  *reinterpret_cast<AlignedVector<T>*>(to) = vector;
}

// How many elements of a row may be moved at a time: a vector where every row begins at a multiple of 16 bytes, else
// one.
template <class T>
bool is_vector_aligned(std::int64_t width, std::initializer_list<const void*> pointers) {
  if (width % AlignedVector<T>::kCount != 0) return false;
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

// How many whole vectors lie at the begin of `count` elements: none where a pointer is not a multiple of 16.
template <class T>
std::int64_t whole_vectors(std::int64_t count, std::initializer_list<const void*> pointers) {
  return is_vector_aligned<T>(0, pointers) ? count / AlignedVector<T>::kCount : 0;
}

// The elements of a view as T*; null of an absent one.
template <class T>
T* elements_of(const TensorView& view) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, BF16>);
  if (!view) return nullptr;
  SHARDORA_CHECK(view.dtype == (std::is_same_v<T, float> ? DType::kF32 : DType::kBF16));
  return static_cast<T*>(view.data);
}

// function(T{}) with the element type of an activation.
template <class Function>
void with_element_type(DType dtype, const Function& function) {
  if (dtype == DType::kBF16) return function(BF16{});
  SHARDORA_CHECK(dtype == DType::kF32);
  function(float{});
}

}  // namespace shardora::cuda
