// The states of a host's ranks in shared memory, there before MPI is: each rank writes its own slot and reads the
// others'. The memory has a name only until all ranks of the host have it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/comm/launcher.h"
#include "runtime/watchdog/rank_state.h"

namespace shardora {

class HostBoard {
 public:
  // A board for `ranks` slots, this process's being the slot `rank`. The name is made of what the launcher gives to all
  // ranks of the host alike. Where there is no shared memory, or one rank only, the board is this process's own: it
  // sees itself only.
  HostBoard(const Environment& environment, int ranks, int rank);
  ~HostBoard();
  HostBoard(const HostBoard&) = delete;
  HostBoard& operator=(const HostBoard&) = delete;

  StateSlot& slot(int rank) { return slots()[rank]; }
  StateSlot& mine() { return slot(rank_); }
  bool shared() const { return shared_; }
  // Once every rank of the host has opened the memory: no later job finds it.
  void forget_name();
  // True for the first of the host's ranks to ask: it is the one to report.
  bool claim_report();

 private:
  struct Header {
    std::atomic<std::uint32_t> claimed{0};
  };
  static constexpr std::size_t kHeaderBytes = 64;
  StateSlot* slots() { return reinterpret_cast<StateSlot*>(memory_ + kHeaderBytes); }

  int rank_;
  std::string name_;
  bool shared_ = false;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace shardora
