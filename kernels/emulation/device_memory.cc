// Device memory of the emulation: memory of the host, filled with 0xFF, exactly as large as it was asked for.
//
// Small blocks come from malloc, whose ends the address sanitizer watches. Large ones are pages of one small file of
// 0xFF, copied as they are written, so that a block costs only what is touched of it; what lies behind the block (to a
// multiple of 256 bytes) cannot be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/check.h"
#include "kernels/emulation/devices.h"

namespace shardora::emulation {
namespace {

constexpr std::size_t kLargeBytes = 8 << 20, kFileBytes = 1 << 20, kAlignment = 256, kGuardBytes = 4096;
constexpr int kPoison = 0xFF;

struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
};
struct State {
  int device = 0;
  std::map<void*, Allocation> allocations;
};
State& state() {
  static State state;
  return state;
}

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

int file_of_poison() {
  static const int file = [] {
    const int made = memfd_create("emulated device memory", MFD_CLOEXEC);
    const std::string poison(kFileBytes, static_cast<char>(kPoison));
    SHARDORA_CHECK(made >= 0 && write(made, poison.data(), kFileBytes) == static_cast<ssize_t>(kFileBytes));
    return made;
  }();
  return file;
}

void* map_large(std::size_t bytes) {
  const std::size_t span = rounded_up(bytes, kFileBytes);
  void* const region = mmap(nullptr, span + kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(region);
  for (std::size_t at = 0; at < span; at += kFileBytes) {
    SHARDORA_CHECK(mmap(first + at, kFileBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                        file_of_poison(), 0) != MAP_FAILED);
  }
  return first + span - rounded_up(bytes, kAlignment);
}

void unmap_large(void* memory, std::size_t bytes) {
  const std::size_t span = rounded_up(bytes, kFileBytes);
  munmap(static_cast<std::byte*>(memory) + rounded_up(bytes, kAlignment) - span, span + kGuardBytes);
}

}  // namespace

std::size_t allocated_bytes() {
  std::size_t total = 0;
  for (const auto& [memory, allocation] : state().allocations) {
    if (allocation.device == state().device) total += allocation.bytes;
  }
  return total;
}

}  // namespace shardora::emulation

using namespace shardora::emulation;

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= static_cast<int>(machine().devices.size())) return cudaErrorInvalidDevice;
  state().device = device;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = machine().devices.at(static_cast<std::size_t>(state().device)).memory_bytes;
  *free_bytes = *total_bytes - allocated_bytes();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  std::size_t free_bytes = 0, total_bytes = 0;
  cudaMemGetInfo(&free_bytes, &total_bytes);
  if (bytes > free_bytes) return cudaErrorMemoryAllocation;
  if (bytes >= kLargeBytes) {
    *memory = map_large(bytes);
    if (*memory == nullptr) return cudaErrorMemoryAllocation;
  } else {
    if (posix_memalign(memory, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
    std::memset(*memory, kPoison, bytes);
  }
  state().allocations[*memory] = {bytes, state().device};
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const auto found = state().allocations.find(memory);
  if (found == state().allocations.end()) return cudaErrorInvalidValue;
  if (found->second.bytes >= kLargeBytes) {
    unmap_large(memory, found->second.bytes);
  } else {
    std::free(memory);
  }
  state().allocations.erase(found);
  return cudaSuccess;
}
