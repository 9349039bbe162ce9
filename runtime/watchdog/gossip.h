// Gossip between hosts: in each round a rank sends one rank of another host the states of all ranks that it knows, so
// that a new state reaches everybody in a few rounds, also past a rank that stands still. Short messages over MPI, on a
// communicator of their own; nothing here waits for a peer.
#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "runtime/watchdog/rank_state.h"

namespace shardora {

// A rank's state at a heartbeat of its watchdog; 0: none has arrived yet.
struct RankStatus {
  std::uint64_t heartbeat = 0;
  RankState state;
};

class Gossip {
 public:
  // Collective over `world`, a communicator of all ranks. `remote`: the ranks of other hosts.
  Gossip(MPI_Comm world, std::vector<int> remote);
  // Receives what has arrived, and sends `known`, by rank, to the next remote rank to which no message is on its way: a
  // lost host holds up no message to the others. From one thread at a time.
  void round(std::vector<RankStatus>& known);

 private:
  void receive(std::vector<RankStatus>& known);
  void send(const std::vector<RankStatus>& known);

  MPI_Comm communicator_ = MPI_COMM_NULL;  // lives as long as MPI: a message may be on its way until the end
  std::vector<int> remote_;
  struct Message {
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<RankStatus> content;
  };
  static bool is_on_its_way(Message& message);

  std::vector<RankStatus> incoming_;
  std::vector<Message> messages_;  // one for each remote rank; empty where none is on its way
  std::size_t next_ = 0;
};

// Of each rank the newer status, by heartbeat.
void merge(std::vector<RankStatus>& known, const std::vector<RankStatus>& received);

}  // namespace shardora
