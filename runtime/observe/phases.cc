#include "runtime/observe/phases.h"

#include "kernels/check.h"

namespace shardora {

PhaseClock::PhaseClock(Backend& backend, std::int64_t phases, bool ranges) : backend_(backend), ranges_(ranges) {
  marks_.reserve(static_cast<std::size_t>(phases) + 1);  // and where the last one ends
}

ProfilerRange PhaseClock::start() {
  used_ = 0;
  return enter(Phase::kData);
}

ProfilerRange PhaseClock::enter(Phase phase) {
  mark(phase);
  return {ranges_, kPhaseNames[static_cast<std::size_t>(phase)]};
}

void PhaseClock::stop() { mark(Phase::kData); }

void PhaseClock::mark(Phase phase) {
  SHARDORA_CHECK(used_ < marks_.capacity());
  if (used_ == marks_.size()) marks_.emplace_back();
  marks_[used_].phase = phase;
  backend_.record_time(marks_[used_++].time);
}

PhaseSeconds PhaseClock::read() const {
  PhaseSeconds seconds{};
  for (std::size_t i = 0; i + 1 < used_; ++i) {
    seconds[static_cast<std::size_t>(marks_[i].phase)] += backend_.seconds_between(marks_[i].time, marks_[i + 1].time);
  }
  return seconds;
}

}  // namespace shardora
