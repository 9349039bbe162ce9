#include "runtime/jobs/doctor/doctor.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/build_id.h"
#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_doctor(MpiSession& session, const RunOptions& options, Watchdog& watchdog) {
  Communicator& world = session.world();
  const Examination seen = examine(session, options, program_identity(), watchdog);
  nlohmann::ordered_json result;
  if (world.rank() == 0) {
    fmt::print("{}", to_text(seen));
    result = to_json(seen);
  }
  print_result(world, result);
  const bool usable = world.all_reduce(std::int64_t{seen.usable()}, Reduction::kMin) == 1;
  return usable ? ExitStatus::kDone : ExitStatus::kUnavailable;
}

}  // namespace shardora
