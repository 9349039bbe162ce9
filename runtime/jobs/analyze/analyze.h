// The analysis of magnitudes and directions (DoRA paper, section 3.2). All ranks call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/session/context.h"

namespace shardora {

// One layer's weight at one point of training against the base: see runtime/adapter/decomposition.h.
struct AnalyzedModule {
  std::int64_t step = 0;  // of the checkpoint; 0: of a single adapter or model
  std::string module;     // "model.layers.0.self_attn.q_proj"
  std::string projection() const { return module.substr(module.rfind('.') + 1); }
  std::int64_t layer = 0;
  double magnitude = 0, direction = 0, base_magnitude = 0;  // dM, dD, mean of m_0
};
struct Analysis {
  std::string method;                   // dora, lora, full
  bool output_axis = true;              // vectors are rows
  std::vector<AnalyzedModule> modules;  // by step, then in the model's order
  std::string csv;                      // file of all figures; empty: none
};
// model.path, and one of adapter.path, analyze.tuned, analyze.checkpoints; writes analyze.csv. The same at any number
// of ranks.
Analysis analyze(const RunOptions& options, const Context& context);

}  // namespace shardora
