// metrics.jsonl: one JSON object a line. On resume, lines past the checkpoint's step are cut off first, so that a
// resumed run's file reads as a straight run's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/observe/phases.h"

namespace shardora {

struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0, learning_rate = 0, gradient_norm = 0;  // norm before clipping
  std::int64_t tokens = 0;
  double seconds = 0, tokens_per_second = 0;
  double model_flops_per_second = 0;                   // of a rank: see ModelFlops
  std::optional<double> model_flops_utilisation = {};  // of the device's peak, where that is known
  std::int64_t peak_memory_bytes = 0;
  struct Drift {
    double mean = 0, max = 0;  // abs(m / m0 - 1)
  };
  std::optional<Drift> magnitude_drift;
  bool skipped = false;   // not finite, so nothing was applied
  PhaseSeconds phases{};  // of rank 0
};

class Metrics {
 public:
  // `after_step`: keep lines up to this step, but for evaluations from `last_step` on, which are made again. An
  // inactive one (no path: other ranks) swallows everything. Throws Error(kIo).
  Metrics();
  Metrics(const std::filesystem::path& path, std::int64_t after_step,
          std::int64_t last_step = std::numeric_limits<std::int64_t>::max());
  ~Metrics();
  Metrics(Metrics&&) noexcept;
  Metrics& operator=(Metrics&&) noexcept;
  void write(const StepMetrics& metrics);
  // `drift_by_layer`: for DoRA, the mean of abs(m / m0 - 1) of each layer.
  void write_evaluation(std::int64_t step, const std::string& name, double loss, double perplexity, std::int64_t tokens,
                        const std::vector<double>& drift_by_layer = {});
  void sync();  // to the disk: before a checkpoint, so that no crash of the machine loses lines before its step

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardora
