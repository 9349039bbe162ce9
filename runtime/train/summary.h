// A training run's result, and the same as one line of JSON: the last line of standard output, and result.json.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/session/evaluate.h"

namespace shardora {

struct TrainSummary {
  std::int64_t steps = 0;
  double loss = 0;                      // of the last optimizer step
  std::vector<Evaluation> evaluations;  // at the end
  double seconds = 0, tokens_per_second = 0;
  std::int64_t trained_parameters = 0, total_parameters = 0;
  bool stopped_early = false;  // by a signal or a time limit, with a checkpoint: exit status 75
  std::string output;          // the adapter's (or, with method full, the model's) folder
};

nlohmann::ordered_json to_json(const TrainSummary& summary);
// Throws Error(kBadInput) where the text is not one.
TrainSummary summary_from(const std::string& text);

}  // namespace shardora
