#include "runtime/comm/gossip.h"

#include <algorithm>

#include "runtime/comm/mpi_check.h"

namespace shardora {
namespace {

constexpr int kTag = 7;

int bytes_of(const std::vector<News>& news) { return static_cast<int>(news.size() * sizeof(News)); }

}  // namespace

void merge(std::vector<News>& known, const std::vector<News>& news) {
  for (std::size_t i = 0; i < std::min(known.size(), news.size()); ++i) {
    if (news[i].heartbeat > known[i].heartbeat) known[i] = news[i];
  }
}

Gossip::Gossip(MPI_Comm world, std::vector<int> far) : far_(std::move(far)) {
  SHARDORA_CHECK(MPI_Comm_dup(world, &communicator_));
  SHARDORA_CHECK(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
  int rank = 0;
  SHARDORA_CHECK(MPI_Comm_rank(communicator_, &rank));
  next_ = static_cast<std::size_t>(rank);  // not all to the same one
}

void Gossip::round(std::vector<News>& known) {
  receive(known);
  if (!far_.empty()) send(known);
}

// A failure here is no failure of the run: whoever is not heard of is late by the watchdog's rules.
void Gossip::receive(std::vector<News>& known) {
  incoming_.resize(known.size());
  for (;;) {
    int there = 0;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kTag, communicator_, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS || there == 0) return;
    if (MPI_Recv(incoming_.data(), bytes_of(incoming_), MPI_BYTE, MPI_ANY_SOURCE, kTag, communicator_,
                 MPI_STATUS_IGNORE) != MPI_SUCCESS) {
      return;
    }
    merge(known, incoming_);
  }
}

void Gossip::send(const std::vector<News>& known) {
  int done = 0;
  if (MPI_Test(&sending_, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) return;
  outgoing_ = known;
  const int to = far_[next_++ % far_.size()];
  MPI_Isend(outgoing_.data(), bytes_of(outgoing_), MPI_BYTE, to, kTag, communicator_, &sending_);
}

}  // namespace shardora
