#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/checksum.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostParts = 1024, kLeastWords = 4096;  // and words of a part

__global__ void __launch_bounds__(kThreads)
    checksum_kernel(const std::uint32_t* words, std::int64_t count, std::uint64_t* parts) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  unsigned long long sum = 0;
  for (std::int64_t i = first; i < count; i += stride) sum += formulas::checksum_term(words[i], i);
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

}  // namespace

std::uint64_t checksum_words(Backend& backend, TensorView view) {
  SHARDORA_CHECK(reinterpret_cast<std::uintptr_t>(view.data) % sizeof(std::uint32_t) == 0);
  const auto* const words = static_cast<const std::uint32_t*>(view.data);
  const std::int64_t count = view.bytes() / 4, rest = view.bytes() % 4;
  const std::int64_t parts = std::min(kMostParts, (count + kLeastWords - 1) / kLeastWords);
  std::array<std::uint64_t, kMostParts> sums{};
  if (parts > 0) {
    auto* const part_sums = cuda_backend(backend).workspace<std::uint64_t>(parts);
    launch(checksum_kernel, static_cast<unsigned>(parts), kThreads, 0, stream_of(backend), words, count, part_sums);
    backend.copy_to_host({sums.data(), DType::kI64, {parts}}, {part_sums, DType::kI64, {parts}});
  }
  std::array<std::byte, 4> tail{};
  if (rest > 0) {
    auto* const from = static_cast<std::byte*>(view.data) + count * 4;
    backend.copy_to_host({tail.data(), DType::kU8, {rest}}, {from, DType::kU8, {rest}});
  }
  backend.synchronize();
  std::uint32_t last = 0;
  std::memcpy(&last, tail.data(), sizeof last);
  std::uint64_t sum = formulas::checksum_term(last, count);
  for (std::int64_t p = 0; p < parts; ++p) sum += sums[static_cast<std::size_t>(p)];
  return sum;
}

}  // namespace shardora::cuda
