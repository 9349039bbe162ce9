// Where an optimizer step's time goes: one reading of the device's clock at each change of phase, so it is always on.
// A device that is behind the host takes the reading when its work comes there, and the host looks at all of them once,
// at the step's end. What the device waits for, the host's work among it, is charged to the phase that is waiting.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "runtime/observe/ranges.h"

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
  // Room for steps that begin so many phases, kData at the start among them. `ranges`: a profiler sees the phases. The
  // backend is not owned.
  PhaseClock(Backend& backend, std::int64_t phases, bool ranges);
  // A step begins, in kData. A profiler shows the phase for as long as the range lives.
  [[nodiscard]] ProfilerRange start();
  // Time from now on belongs to this phase; a phase may be entered many times.
  [[nodiscard]] ProfilerRange enter(Phase phase);
  void stop();
  // From start() to stop(), by phase. Once the backend has been synchronised.
  PhaseSeconds read() const;

 private:
  struct Mark {
    TimePoint time;
    Phase phase = Phase::kData;  // that begins here
  };
  void mark(Phase phase);

  Backend& backend_;
  bool ranges_;
  std::vector<Mark> marks_;  // their time points are used again by every step
  std::size_t used_ = 0;     // by this step
};

}  // namespace shardora
