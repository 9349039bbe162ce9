#include "runtime/comm/flight_record.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    case DType::kF64:
      return "float64";
    case DType::kI32:
      return "int32";
    case DType::kI64:
      return "int64";
    case DType::kU8:
      return "bytes";
  }
  return "?";
}

// Without memory of its own: collectives of a step allocate nothing. Cut where it is too long.
std::array<char, 64> words_of(const Collective& call) {
  std::array<char, 64> text{};
  const auto end = call.count == 0 ? fmt::format_to_n(text.data(), text.size() - 1, "{}", call.operation)
                                   : fmt::format_to_n(text.data(), text.size() - 1, "{} of {} {}", call.operation,
                                                      call.count, name_of(call.dtype));
  *std::min(end.out, text.data() + text.size() - 1) = 0;
  return text;
}

}  // namespace

std::string describe(const Collective& call) { return words_of(call).data(); }

FlightRecord::FlightRecord() : slot_(&own_slot_) { state_.process = getpid(); }

void FlightRecord::publish_to(StateSlot& slot) {
  const std::lock_guard lock(mutex_);
  slot_ = &slot;
  publish();
}

void FlightRecord::join(GroupKind group, std::int64_t leader) {
  const std::lock_guard lock(mutex_);
  const auto kind = static_cast<std::size_t>(group);
  state_.leader[kind] = leader;
  publish();
}

void FlightRecord::start_is_over() {
  const std::lock_guard lock(mutex_);
  state_.starts = 0;
  ++state_.progress;
  publish();
}

void FlightRecord::check_collectives() { checks_ = true; }

void FlightRecord::at(std::string_view place) {
  const std::lock_guard lock(mutex_);
  put_text(state_.place, place);
  if (state_.waiting < 0) state_.since = nanoseconds(monotonic_seconds());
  ++state_.progress;
  publish();
}

void FlightRecord::progress() {
  const std::lock_guard lock(mutex_);
  ++state_.progress;
  publish();
}

void FlightRecord::enter(GroupKind group, const char* operation, DType dtype, std::int64_t count) {
  const std::lock_guard lock(mutex_);
  const auto kind = static_cast<std::size_t>(group);
  begin(kind, state_.entered[kind] + 1, operation, dtype, count);
}

void FlightRecord::begin(std::size_t kind, std::int64_t sequence, const char* operation, DType dtype,
                         std::int64_t count) {
  Collective& call = ring_[next_++ % kRing];
  call.sequence = sequence;
  state_.entered[kind] = std::max(state_.entered[kind], sequence);
  call.operation = operation, call.dtype = dtype, call.count = count, call.group = static_cast<GroupKind>(kind);
  call.place = state_.place;
  call.entered = monotonic_seconds(), call.left = 0;
  state_.operation = words_of(call);
  state_.call = static_cast<std::int64_t>(std::hash<std::string_view>{}(state_.operation.data()));
  state_.waiting = static_cast<std::int64_t>(kind);
  state_.since = nanoseconds(call.entered);
  ++state_.progress;
  publish();
}

void FlightRecord::leave() {
  const std::lock_guard lock(mutex_);
  if (state_.waiting >= 0) end();
}

void FlightRecord::end() {
  Collective& call = ring_[(next_ - 1) % kRing];
  call.left = monotonic_seconds();
  waited_ += call.left - call.entered;
  state_.waiting = -1;
  ++state_.progress;
  publish();
}

void FlightRecord::join_as(GroupKind group, GroupKind as) {
  const std::lock_guard lock(mutex_);
  state_.leader[static_cast<std::size_t>(group)] = state_.leader[static_cast<std::size_t>(as)];
  publish();
}

void FlightRecord::wait_in(GroupKind group, std::int64_t sequence, const char* operation, DType dtype,
                           std::int64_t count) {
  const std::lock_guard lock(mutex_);
  const auto kind = static_cast<std::size_t>(group);
  if (state_.waiting >= 0) {
    if (state_.waiting != static_cast<std::int64_t>(kind) || ring_[(next_ - 1) % kRing].sequence == sequence) return;
    end();
  }
  begin(kind, sequence, operation, dtype, count);
}

void FlightRecord::wait_is_over(GroupKind group) {
  const std::lock_guard lock(mutex_);
  if (state_.waiting == static_cast<std::int64_t>(group)) end();
}

void FlightRecord::passed(GroupKind group, std::int64_t sequence) {
  const std::lock_guard lock(mutex_);
  std::int64_t& entered = state_.entered[static_cast<std::size_t>(group)];
  entered = std::max(entered, sequence);
  ++state_.progress;
  publish();
}

bool FlightRecord::waits() const {
  const std::lock_guard lock(mutex_);
  return state_.waiting >= 0;
}

double FlightRecord::waited_seconds() const {
  const std::lock_guard lock(mutex_);
  return waited_;
}

Collective FlightRecord::latest() const {
  const std::lock_guard lock(mutex_);
  return next_ == 0 ? Collective() : ring_[(next_ - 1) % kRing];
}

std::vector<Collective> FlightRecord::last() const {
  const std::lock_guard lock(mutex_);
  std::vector<Collective> calls;
  for (std::size_t i = next_ < kRing ? 0 : next_ - kRing; i < next_; ++i) calls.push_back(ring_[i % kRing]);
  return calls;
}

}  // namespace shardora
