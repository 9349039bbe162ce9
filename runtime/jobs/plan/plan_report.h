// A plan as a report for the reader, and as JSON for a script.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/jobs/plan/plan.h"

namespace shardora {

std::string to_text(const RunPlan& plan);
nlohmann::ordered_json to_json(const RunPlan& plan);

}  // namespace shardora
