// A program with the defect that the watchdog and the debug mode are for: rank 1 leaves out one collective of the
// tensor group. Words: "watch", where the watchdog finds it after two seconds, or "check", where the ranks compare
// first.
#include <fmt/core.h>

#include <cstdio>
#include <cstring>

#include "runtime/comm/mpi_session.h"

namespace shardora {
namespace {

void run(MpiSession& session, bool check) {
  const ProcessGrid& grid = session.make_grid({.tensor = 2});
  if (check) session.record().check_collectives();
  for (int step = 1; step <= 20; ++step) {
    grid.world->at(fmt::format("step {}", step));
    if (step != 7 || grid.world->rank() != 1) grid.tensor_group->all_reduce(1.0, Reduction::kSum);
    grid.data_group->all_reduce(std::int64_t{1}, Reduction::kMax);
    if (!check) grid.world->barrier();  // with it the two wait in collectives of different groups
  }
}

}  // namespace
}  // namespace shardora

int main(int argc, char** argv) {
  using namespace shardora;
  const bool check = argc > 1 && std::strcmp(argv[1], "check") == 0;
  MpiSession session(argc, argv, {.seconds = 2, .init_seconds = 30});
  try {
    run(session, check);
  } catch (const Error& error) {
    fmt::print(stderr, "[rank {}] {}\n", session.world().rank(), error.what());
    session.abort(error.status());
  }
}
