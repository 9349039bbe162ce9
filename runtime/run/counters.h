// Where a run stands: what state.safetensors keeps in its metadata.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace shardora {

struct Counters {
  std::int64_t step = 0;
  std::int64_t tokens = 0;  // seen so far
  double best_loss = 0;
  std::int64_t best_step = 0;  // 0: none yet
  std::int64_t evaluations_without_gain = 0;
};

std::map<std::string, std::string> to_metadata(const Counters& counters);
// Throws Error(kBadInput) naming the file and the counter that is missing or no number from 0.
Counters read_counters(const std::map<std::string, std::string>& metadata, const std::string& file);

}  // namespace shardora
