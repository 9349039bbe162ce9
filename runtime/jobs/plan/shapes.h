// Models by name: their sizes as their published config.json has them.
#pragma once

#include <string>
#include <vector>

#include "runtime/formats/model_config.h"

namespace shardora {

// Throws Error(kUsage) naming `key` and listing what is known.
ModelConfig shape_preset(const std::string& name, const std::string& key);
std::vector<std::string> shape_names();

}  // namespace shardora
