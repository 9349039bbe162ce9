#include "runtime/memory/arena.h"

#include <algorithm>

namespace shardora {
namespace {
constexpr std::int64_t kAlignment = 64;
std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
// Where the views of a measuring arena pretend to be: not null, so that they are not taken for absent ones.
alignas(kAlignment) std::byte nowhere{};
}  // namespace

Arena::Arena() : base_(&nowhere) {}

Arena::Arena(Backend& backend, std::int64_t capacity_bytes)
    : block_(backend, std::max(capacity_bytes, kAlignment)),
      measuring_(false),
      base_(static_cast<std::byte*>(block_.data())),
      capacity_(block_.bytes()) {}

TensorView Arena::take(std::string_view segment, DType dtype, Shape shape) {
  const std::int64_t bytes = aligned(shape.elements() * size_bytes(dtype));
  void* data = base_ + used_;
  used_ += bytes;
  SHARDORA_CHECK(measuring_ || used_ <= capacity_);
  if (used_ > peak_) {
    auto found = segments_.find(segment);  // without a string: a step that reaches further allocates nothing
    if (found == segments_.end()) found = segments_.try_emplace(std::string(segment), 0).first;
    found->second += used_ - peak_;
    peak_ = used_;
  }
  return {data, dtype, shape};
}

void Arena::release(std::int64_t mark) {
  SHARDORA_CHECK(mark >= 0 && mark <= used_);
  used_ = mark;
}

}  // namespace shardora
