// model.path, optional adapter.path, generate.*: continues each prompt of a dataset file.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/jobs/generate/search.h"
#include "runtime/session/context.h"

namespace shardora {

struct Generation {
  std::vector<Continuation> continuations;  // one a prompt, in the file's order
  std::int64_t new_tokens = 0;              // of all of them, stop tokens not counted
  double seconds = 0;                       // without loading
};

// A continuation ends at a stop token, after generate.max_new_tokens, or where prompt and continuation fill the model's
// positions. All ranks call; the same on every rank.
Generation generate(const RunOptions& options, const Context& context);
// In the order of the prompts; a stop token is counted in log_probability, but not among the tokens:
//   {"sequences":[{"tokens":[…],"stopped":"stop_token" or "length","log_probability":…}, …],
//    "new_tokens":…,"seconds":…,"tokens_per_second":…}
nlohmann::ordered_json to_json(const Generation& generation);

}  // namespace shardora
