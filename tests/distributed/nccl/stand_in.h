// A library with NCCL's interface for tests: it works on host memory over MPI, answers "in progress" and fails on
// command, and counts what is asked of it. Loaded by path as NCCL is; a test that links to it commands the same
// library.
#pragma once

#include <functional>

namespace shardora::testing {

constexpr int kForEver = -1;

struct StandIn {
  int version = 22809;
  // How often each kind of call is answered "in progress" before its work is done.
  int init_polls = 0, collective_polls = 0, finalize_polls = 0, abort_polls = 0;
  int unique_id_result = 0, collective_result = 0;  // other than 0: the call fails with it
  int async_error = 0;                              // other than 0: found by whoever asks
  bool collectives_stick = false;                   // they are queued and never end

  // Puts work (empty: work without end) on a stream. By default it is done at once.
  std::function<void(void* stream, std::function<void()> work)> enqueue;

  struct Counts {
    int inits = 0, collectives = 0, finalizes = 0, destroys = 0, aborts = 0;
    int alive = 0;   // communicators that were started and neither destroyed nor aborted
    int misuse = 0;  // calls on one that was
  } counts;
};
StandIn& stand_in();

}  // namespace shardora::testing
