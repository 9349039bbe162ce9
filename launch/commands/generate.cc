// generate's result, in the order of the prompts; a stop token is counted in log_probability, but not among the tokens:
//   {"sequences":[{"tokens":[…],"stopped":"stop_token" or "length","log_probability":…}, …],
//    "new_tokens":…,"seconds":…,"tokens_per_second":…}
#include "runtime/jobs/generate/generate.h"

#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {
namespace {

nlohmann::ordered_json to_json(const Continuation& continuation) {
  return {{"tokens", continuation.tokens},
          {"stopped", continuation.at_stop_token ? "stop_token" : "length"},
          {"log_probability", continuation.log_probability}};
}

}  // namespace

ExitStatus run_generate(const RunOptions& options, const Context& context) {
  const Generation generation = generate(options, context);
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  result["sequences"] = nlohmann::ordered_json::array();
  for (const Continuation& one : generation.continuations) result["sequences"].push_back(to_json(one));
  result["new_tokens"] = generation.new_tokens;
  result["seconds"] = generation.seconds;
  result["tokens_per_second"] = static_cast<double>(generation.new_tokens) / generation.seconds;
  print_result(*context.grid.world, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
