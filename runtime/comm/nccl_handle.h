// One ncclComm_t from its start to its end. NCCL answers "in progress" instead of blocking, so every call is followed
// by questions until it is settled, and no question is asked for ever.
#pragma once

#include <string>

#include "kernels/check.h"
#include "runtime/comm/nccl_library.h"

namespace shardora::nccl {

struct Limits {
  double init_seconds = 600;     // for all ranks of the group to arrive
  double seconds = 120;          // for a collective, once it has begun
  double teardown_seconds = 10;  // for each step of the end
};

class Handle {
 public:
  // `group` names it in messages: "tensor group, rank 1 of 4".
  Handle(const Library& library, std::string group, const Limits& limits);
  // Healthy: finalize, then destroy. After a failure, or while an exception passes: abort. Each bounded in time.
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  // All ranks of the group, with the id that rank 0 made. Throws Error(kUnavailable).
  void init(int ranks, const UniqueId& id, int rank);
  // Waits until the call that answered `status` is settled. Throws as fail().
  void settle(Result status, const char* operation);
  // Throws as fail() where something has gone wrong since, `operation` being what is under way.
  void check(const char* operation);
  // Throws Error: kStoppedEarly where a peer is lost (kInProgress: it did not answer in time), else kUnavailable.
  [[noreturn]] void fail(Result status, const char* operation);

  Communicator get() const { return communicator_; }

 private:
  Result poll(double seconds) const;
  Result shut_down(bool healthy);

  const Library& library_;  // not owned
  std::string group_;
  Limits limits_;
  int exceptions_at_birth_;
  bool failed_ = false;
  Communicator communicator_ = nullptr;
};

}  // namespace shardora::nccl
