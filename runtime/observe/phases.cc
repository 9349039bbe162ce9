#include "runtime/observe/phases.h"

#include <numeric>

#include "runtime/observe/metrics.h"

namespace shardora {

PhaseClock::PhaseClock() : since_(monotonic_seconds()) {}

void PhaseClock::enter(Phase phase) {
  charge();
  phase_ = phase;
}

const PhaseSeconds& PhaseClock::read() {
  charge();
  return seconds_;
}

double PhaseClock::total() const { return std::accumulate(seconds_.begin(), seconds_.end(), 0.0); }

void PhaseClock::charge() {
  const double now = monotonic_seconds();
  seconds_[static_cast<std::size_t>(phase_)] += now - since_;
  since_ = now;
}

}  // namespace shardora
