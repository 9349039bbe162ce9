// One rank fails alone while its peers wait in a collective: abort must end them all, with its status.
#include "runtime/comm/mpi_session.h"

int main(int argc, char** argv) {
  using namespace shardora;
  MpiSession session(argc, argv);
  if (session.world().rank() == session.world().size() - 1) session.abort(ExitStatus::kIo);
  session.world().barrier();
  return 0;
}
