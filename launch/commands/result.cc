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

void print_result(Communicator& world, const ordered_json& result, Above above) {
  agree(world, [&] {
    if (world.rank() != 0) return;
    const bool launched = launched_ranks([](const char* name) -> const char* { return std::getenv(name); }).has_value();
    if (!is_result_wanted(above, isatty(STDOUT_FILENO) == 1, launched)) return;
    const std::string line = result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
    const bool written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
    if (!written) refuse(ExitStatus::kIo, "cannot write the result to standard output");
  });
}

}  // namespace shardora
