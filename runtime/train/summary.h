// A training run's result as one line of JSON: the last line of standard output, and result.json.
#pragma once

#include <string>

#include "runtime/train/run.h"

namespace shardora {

std::string summary_text(const TrainSummary& summary);
// Throws Error(kBadInput) where the text is not one.
TrainSummary summary_from(const std::string& text);

}  // namespace shardora
