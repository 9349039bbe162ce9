// The parts of config.json, one function each: used by model_config.cc only.
#pragma once

#include "runtime/io/json.h"
#include "runtime/io/model_folder.h"

namespace shardora {

void parse_rope(const JsonFields& fields, ModelConfig& config);             // model_rope.cc
void parse_sliding_windows(const JsonFields& fields, ModelConfig& config);  // model_windows.cc

}  // namespace shardora
