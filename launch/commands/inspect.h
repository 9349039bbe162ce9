// The parts of inspect: each prints for the reader and returns the same for a script.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/options.h"

namespace shardora {

nlohmann::ordered_json inspect_model(const std::filesystem::path& folder);
// A PEFT folder.
nlohmann::ordered_json inspect_adapter(const std::filesystem::path& folder);
// A folder checkpoints/step-N.
nlohmann::ordered_json inspect_checkpoint(const std::filesystem::path& folder);
// `vocabulary`: ids are checked against it.
nlohmann::ordered_json inspect_dataset(const std::string& path, std::int64_t vocabulary);

}  // namespace shardora
