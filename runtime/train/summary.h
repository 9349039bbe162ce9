// A training run's result as one line of JSON: the last line of standard output, and result.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/train/train.h"

namespace shardora {

nlohmann::ordered_json to_json(const TrainSummary& summary);
// Throws Error(kBadInput) where the text is not one.
TrainSummary summary_from(const std::string& text);

}  // namespace shardora
