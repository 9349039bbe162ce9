#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_generate(const RunOptions& options, const Machine& machine) {
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  result["sequences"] = generate(options, machine);
  print_result(machine, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
