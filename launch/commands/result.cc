#include "launch/commands/result.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/comm/launcher.h"

namespace shardora {

using nlohmann::ordered_json;

bool is_result_wanted(Above above, bool terminal, bool launched) {
  return above == Above::kNothing || !terminal || launched;
}

namespace {

bool is_written(const ordered_json& result) {
  const std::string line = result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
}

}  // namespace

void print_result(Communicator& world, const ordered_json& result, Above above) {
  agree(world, [&] {
    if (world.rank() != 0) return;
    const bool launched = launched_ranks([](const char* name) -> const char* { return std::getenv(name); }).has_value();
    if (!is_result_wanted(above, isatty(STDOUT_FILENO) == 1, launched)) return;
    if (!is_written(result)) refuse(ExitStatus::kIo, "cannot write the result to standard output");
  });
}

void print_result(const Context& context, const ordered_json& result) {
  if (context.grid.world->rank() != 0 || is_written(result)) return;
  context.log.warn("standard output cannot be written: the result's line is lost, what was made is complete");
}

}  // namespace shardora
