// Where an optimizer step's time goes. One clock read at each change of phase, so it is always on. The host's clock:
// on a backend that queues work, a phase is charged where the host waits.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace shardora {

enum class Phase : std::uint8_t {
  kData,        // choosing, packing and copying the sequences
  kForward,     // the model, the loss, and the gradient of the head's input, which is made chunk by chunk beside it
  kBackward,    // from the last norm down
  kNorms,       // gradients through the norm, dm, and the norms of the new weights: once per step
  kReductions,  // sums of gradients and losses over ranks, and the gradient's norm
  kOptimizer,   // clipping, AdamW
};
inline constexpr std::array<std::string_view, 6> kPhaseNames = {"data",  "forward",    "backward",
                                                                "norms", "reductions", "optimizer"};

using PhaseSeconds = std::array<double, kPhaseNames.size()>;

class PhaseClock {
 public:
  PhaseClock();  // starts in kData
  // Time from now on belongs to this phase; a phase may be entered many times.
  void enter(Phase phase);
  // Charges the phase under way up to now.
  const PhaseSeconds& read();
  double total() const;  // of what is charged

 private:
  void charge();
  Phase phase_ = Phase::kData;
  double since_;
  PhaseSeconds seconds_{};
};

}  // namespace shardora
