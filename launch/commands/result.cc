#include "launch/commands/result.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"

namespace shardora {

using nlohmann::ordered_json;

void print_result(Communicator& world, const ordered_json& result) {
  agree(world, [&] {
    if (world.rank() != 0) return;
    const std::string line = result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
    const bool written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
    if (!written) refuse(ExitStatus::kIo, "cannot write the result to standard output");
  });
}

}  // namespace shardora
