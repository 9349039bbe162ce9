// An analysis for readers: a table by projection with the correlation and the slope of dM over dD, the same as JSON,
// and every layer's figures as CSV.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/jobs/analyze/analyze.h"

namespace shardora {

std::string to_text(const Analysis& analysis);
nlohmann::ordered_json to_json(const Analysis& analysis);

std::string to_csv(const Analysis& analysis);
// Throws Error(kOutputBusy) where the path exists and is no such table: a file of the user's own stays.
void require_own_csv(const std::filesystem::path& path);

}  // namespace shardora
