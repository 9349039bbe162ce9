// What analyze compares with the base: one adapter, one fully tuned model, or every checkpoint of a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "runtime/options.h"

namespace shardora {

struct AnalysisSource {
  std::filesystem::path path;  // a PEFT folder, or a model folder
  bool is_model = false;
  std::int64_t step = 0;  // of a run's checkpoint; else 0
};
// By step. Throws Error(kBadInput) where a run's folder has no checkpoint.
std::vector<AnalysisSource> analysis_sources(const RunOptions& options);

}  // namespace shardora
