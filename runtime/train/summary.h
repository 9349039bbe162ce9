// A training run's result as one line of JSON: the last line of standard output, and result.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/train/run.h"

namespace shardora {

// One object of figures for a single set, else one a set by its name.
nlohmann::ordered_json to_json(const std::vector<Evaluation>& evaluations);
// The same of the sets, and under "choices" that of the questions.
nlohmann::ordered_json to_json(const EvalSummary& summary);

std::string summary_text(const TrainSummary& summary);
// Throws Error(kBadInput) where the text is not one.
TrainSummary summary_from(const std::string& text);

}  // namespace shardora
