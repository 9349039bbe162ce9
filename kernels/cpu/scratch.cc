#include "kernels/cpu/scratch.h"

#include <cstdlib>

#include "kernels/check.h"

namespace shardora::cpu {
namespace {

constexpr std::int64_t kLine = 64 / sizeof(float);

}  // namespace

void Scratch::Free::operator()(float* memory) const noexcept { std::free(memory); }

float* Scratch::floats(std::int64_t count) {
  if (count <= count_) return memory_.get();
  const std::int64_t lines = (count + kLine - 1) / kLine;
  memory_.reset();
  count_ = 0;
  memory_.reset(static_cast<float*>(std::aligned_alloc(64, static_cast<std::size_t>(lines) * 64)));
  if (memory_ == nullptr) {
    refuse(ExitStatus::kOutOfMemory, "out of host memory: asked for {} bytes of scratch memory", lines * 64);
  }
  count_ = lines * kLine;
  return memory_.get();
}

}  // namespace shardora::cpu
