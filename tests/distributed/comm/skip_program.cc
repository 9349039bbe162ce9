// A program with the defect that the watchdog and the debug mode are for: a rank leaves out one collective of the
// tensor group. Words: "watch", where the watchdog finds it after two seconds, or "check", where the ranks compare
// first; then which rank, and in which of 20 steps.
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/comm/mpi_session.h"
#include "runtime/watchdog/watchdog.h"

namespace shardora {
namespace {

struct Defect {
  bool check = false;
  int rank = 1, step = 7;
};

void run(MpiSession& session, Watchdog& watchdog, const Defect& defect) {
  const auto& [check, rank, skipped] = defect;
  const ProcessGrid& grid = session.make_grid({.tensor = 2});
  watchdog.start_is_over();
  if (check) watchdog.check_collectives();
  for (int step = 1; step <= 20; ++step) {
    watchdog.set_activity(fmt::format("step {}", step));
    if (step != skipped || grid.world->rank() != rank) grid.tensor_group->all_reduce(1.0, Reduction::kSum);
    grid.data_group->all_reduce(std::int64_t{1}, Reduction::kMax);
    if (!check) grid.world->barrier();  // with it the two wait in collectives of different groups
  }
}

}  // namespace
}  // namespace shardora

int main(int argc, char** argv) {
  using namespace shardora;
  Defect defect;
  if (argc > 1) defect.check = std::strcmp(argv[1], "check") == 0;
  if (argc > 3) defect.rank = std::atoi(argv[2]), defect.step = std::atoi(argv[3]);
  Watchdog watchdog({.seconds = 2, .init_seconds = 30}, [](const char* name) { return std::getenv(name); });
  MpiSession session(argc, argv, &watchdog);
  try {
    run(session, watchdog, defect);
  } catch (const Error& error) {
    fmt::print(stderr, "[rank {}] {}\n", session.world().rank(), error.what());
    session.abort(error.status());
  }
}
