// One block of device memory, planned by name before the first step; a step allocates nothing.
//
// The code that lays out buffers runs twice: over a measuring Arena with the dry run backend, where views have sizes
// but no memory behind them and operations do nothing, then over a real one. So the plan that is printed is the plan
// that is used.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kernels/backend.h"

namespace shardora {

class Arena {
 public:
  Arena();                                               // measures
  Arena(Backend& backend, std::int64_t capacity_bytes);  // real; throws Error(kOutOfMemory)

  // A view into the block, aligned to 64 bytes; its bytes are counted under `segment` ("activations", "gradients", …).
  TensorView take(std::string_view segment, DType dtype, Shape shape);
  // A place to return to: what is taken between mark() and release(mark) may be taken again, for scratch memory that
  // does not outlive a block. The peak counts.
  std::int64_t mark() const { return used_; }
  void release(std::int64_t mark);

  bool measuring() const { return measuring_; }
  std::int64_t used_bytes() const { return used_; }
  std::int64_t peak_bytes() const { return peak_; }
  const std::map<std::string, std::int64_t, std::less<>>& segments() const { return segments_; }  // bytes by name

 private:
  DeviceBuffer block_;
  bool measuring_ = true;
  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0, used_ = 0, peak_ = 0;
  std::map<std::string, std::int64_t, std::less<>> segments_;
};

// Scratch memory of one function: what is taken after it was made may be taken again once it is gone.
class ScratchScope {
 public:
  explicit ScratchScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ScratchScope() { arena_.release(mark_); }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;
  TensorView take(Shape shape, DType dtype = DType::kF32) { return arena_.take("scratch", dtype, shape); }
  TensorView like(TensorView x) { return take(x.shape, x.dtype); }

 private:
  Arena& arena_;
  std::int64_t mark_;
};

}  // namespace shardora
