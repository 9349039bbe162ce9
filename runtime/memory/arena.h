// One block of device memory, planned by name before the first step; a step allocates nothing.
//
// The code that lays out buffers runs twice over an Arena: a measuring one that only counts (its views have no data),
// then a real one. So the plan that is printed is the plan that is used.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kernels/backend.h"

namespace shardora {

class Arena {
 public:
  Arena() = default;                                     // measures
  Arena(Backend& backend, std::int64_t capacity_bytes);  // real; throws Error(kOutOfMemory)

  // A view into the block, aligned to 64 bytes; its bytes are counted under `segment` ("activations", "gradients", …).
  TensorView take(std::string_view segment, DType dtype, Shape shape);
  // A place to return to: what is taken between mark() and release(mark) may be taken again, for scratch memory that
  // does not outlive a block. The peak counts.
  std::int64_t mark() const { return used_; }
  void release(std::int64_t mark);

  bool measuring() const { return base_ == nullptr; }
  std::int64_t peak_bytes() const { return peak_; }
  const std::map<std::string, std::int64_t, std::less<>>& segments() const { return segments_; }  // bytes by name

 private:
  DeviceBuffer block_;
  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0, used_ = 0, peak_ = 0;
  std::map<std::string, std::int64_t, std::less<>> segments_;
};

}  // namespace shardora
