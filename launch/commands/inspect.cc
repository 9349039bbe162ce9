#include "runtime/jobs/inspect/inspect.h"

#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_inspect(const RunOptions& options, const Context& context) {
  Problems problems;
  const nlohmann::ordered_json result = inspect(options, context.backend, problems);
  print_result(*context.grid.world, result, Above::kReport);
  if (problems.unusable.empty()) return ExitStatus::kDone;
  const std::size_t others = problems.unusable.size() - 1;
  refuse(ExitStatus::kBadInput, "{}{}", problems.unusable.front(),
         others > 0 ? fmt::format("; and {} more, see the report", others) : std::string());
}

}  // namespace shardora
