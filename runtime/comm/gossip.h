// What ranks of other hosts are about: each rank now and then sends one of them all that it knows, so that news reach
// everybody in a few rounds, by ways that go round a rank that stands still. Short messages over MPI, on a communicator
// of their own; nothing here waits for a peer.
#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "runtime/comm/rank_state.h"

namespace shardora {

// A rank's state as of some heartbeat of its watchdog; 0: never heard of.
struct News {
  std::uint64_t heartbeat = 0;
  RankState state;
};

class Gossip {
 public:
  // Collective over `world`, a communicator of all ranks. `far`: the ranks of other hosts, none of them this rank.
  Gossip(MPI_Comm world, std::vector<int> far);
  // A round: takes in what has come, and sends `known`, by rank, to the next of the far ones to whom nothing is on its
  // way any more: a lost host keeps nobody from the others. From one thread at a time.
  void round(std::vector<News>& known);

 private:
  void receive(std::vector<News>& known);
  void send(const std::vector<News>& known);

  MPI_Comm communicator_ = MPI_COMM_NULL;  // lives as long as MPI: a message may be on its way until the end
  std::vector<int> far_;
  struct Letter {
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<News> news;
  };
  static bool is_on_its_way(Letter& letter);

  std::vector<News> incoming_;
  std::vector<Letter> letters_;  // one to each of the far ones; empty where nothing is on its way
  std::size_t next_ = 0;
};

// Where `news` are newer than what is known, they are taken over.
void merge(std::vector<News>& known, const std::vector<News>& news);

}  // namespace shardora
