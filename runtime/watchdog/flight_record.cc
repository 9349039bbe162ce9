#include "runtime/watchdog/flight_record.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

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

// Cut where it is too long. Collectives of a step allocate nothing.
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

FlightRecord::FlightRecord() : slot_(&own_slot_) {
  state_.process = getpid();
  put_text(state_.activity, "the start of MPI");
  state_.activity_at = monotonic_seconds();
}

void FlightRecord::publish_progress() {
  ++state_.progress;
  slot_->write(state_);
}

void FlightRecord::publish_to(StateSlot& slot) {
  const std::lock_guard lock(mutex_);
  slot_ = &slot;
  publish_progress();
}

void FlightRecord::start_is_over() {
  const std::lock_guard lock(mutex_);
  state_.starts = 0;
  publish_progress();
}

void FlightRecord::set_activity(std::string_view activity) {
  const std::lock_guard lock(mutex_);
  put_text(state_.activity, activity);
  state_.activity_at = monotonic_seconds();
  ++state_.activities;
  publish_progress();
}

std::string FlightRecord::activity() const {
  const std::lock_guard lock(mutex_);
  return state_.activity.data();
}

void FlightRecord::joined(GroupKind group, int lowest) {
  const std::lock_guard lock(mutex_);
  state_.lowest[static_cast<std::size_t>(group)] = lowest;
  if (group == GroupKind::kData) state_.lowest[static_cast<std::size_t>(GroupKind::kDeviceData)] = lowest;
  if (group == GroupKind::kTensor) state_.lowest[static_cast<std::size_t>(GroupKind::kDeviceTensor)] = lowest;
  publish_progress();
}

void FlightRecord::progressed() {
  const std::lock_guard lock(mutex_);
  publish_progress();
}

void FlightRecord::entered(const Collective& call) {
  const std::lock_guard lock(mutex_);
  const auto kind = static_cast<std::size_t>(call.group);
  if (call.sequence > 0 && state_.waiting >= 0) {
    if (newest().group != call.group || newest().sequence == call.sequence) return;
    end();
  }
  RecordedCollective& entry = ring_[next_++ % kRing];
  entry = {call, state_.activity, monotonic_seconds()};
  if (call.sequence == 0) entry.sequence = state_.entered[kind] + 1;
  state_.entered[kind] = std::max(state_.entered[kind], entry.sequence);
  state_.operation = words_of(entry);
  state_.waiting = static_cast<std::int64_t>(kind);
  state_.entered_at = entry.entered;
  publish_progress();
}

void FlightRecord::left(GroupKind group) {
  const std::lock_guard lock(mutex_);
  if (state_.waiting == static_cast<std::int64_t>(group)) end();
}

void FlightRecord::end() {
  newest().left = monotonic_seconds();
  waited_ += newest().left - newest().entered;
  state_.waiting = -1;
  publish_progress();
}

void FlightRecord::passed(GroupKind group, std::int64_t sequence) {
  const std::lock_guard lock(mutex_);
  std::int64_t& entered = state_.entered[static_cast<std::size_t>(group)];
  entered = std::max(entered, sequence);
  publish_progress();
}

std::string FlightRecord::compared() const {
  if (!checks_) return {};
  const RecordedCollective call = latest();
  return fmt::format("{}, #{} over the {} group, {}", describe(call), call.sequence,
                     kGroupNames[static_cast<std::size_t>(call.group)], call.activity.data());
}

bool FlightRecord::waits() const {
  const std::lock_guard lock(mutex_);
  return state_.waiting >= 0;
}

double FlightRecord::waited_seconds() const {
  const std::lock_guard lock(mutex_);
  return waited_;
}

RecordedCollective FlightRecord::latest() const {
  const std::lock_guard lock(mutex_);
  return next_ == 0 ? RecordedCollective() : ring_[(next_ - 1) % kRing];
}

std::vector<RecordedCollective> FlightRecord::last() const {
  const std::lock_guard lock(mutex_);
  std::vector<RecordedCollective> calls;
  for (std::size_t i = next_ < kRing ? 0 : next_ - kRing; i < next_; ++i) calls.push_back(ring_[i % kRing]);
  return calls;
}

}  // namespace shardora
