// The merge job: base and adapter folded into one model folder. All ranks call.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "runtime/session/context.h"

namespace shardora {

struct MergeSummary {
  std::string output;
  std::int64_t tensors = 0, merged_modules = 0, bytes = 0;
  double seconds = 0;                      // of reading and writing
  std::optional<double> logit_difference;  // with merge.verify: see merge_verify.h
};
// model.path, adapter.path, output.dir, merge.*.
MergeSummary merge(const RunOptions& options, const Context& context);
nlohmann::ordered_json to_json(const MergeSummary& summary);

}  // namespace shardora
