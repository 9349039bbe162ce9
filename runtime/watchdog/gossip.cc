#include "runtime/watchdog/gossip.h"

#include <algorithm>

#include "runtime/comm/mpi_check.h"

namespace shardora {
namespace {

constexpr int kTag = 7;

int bytes_of(const std::vector<RankStatus>& content) { return static_cast<int>(content.size() * sizeof(RankStatus)); }

}  // namespace

void merge(std::vector<RankStatus>& known, const std::vector<RankStatus>& received) {
  for (std::size_t i = 0; i < std::min(known.size(), received.size()); ++i) {
    if (received[i].heartbeat > known[i].heartbeat) known[i] = received[i];
  }
}

Gossip::Gossip(MPI_Comm world, std::vector<int> remote) : remote_(std::move(remote)), messages_(remote_.size()) {
  SHARDORA_CHECK(MPI_Comm_dup(world, &communicator_));
  SHARDORA_CHECK(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
  int rank = 0;
  SHARDORA_CHECK(MPI_Comm_rank(communicator_, &rank));
  next_ = static_cast<std::size_t>(rank);  // not all to the same one
}

void Gossip::round(std::vector<RankStatus>& known) {
  receive(known);
  if (!remote_.empty()) send(known);
}

// A failure here is no failure of the run: a rank without news is late by the watchdog's rules.
void Gossip::receive(std::vector<RankStatus>& known) {
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

// The memory of one that has arrived is released.
bool Gossip::is_on_its_way(Message& message) {
  int done = 0;
  if (MPI_Test(&message.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) return true;
  message.content = {};
  return false;
}

void Gossip::send(const std::vector<RankStatus>& known) {
  for (std::size_t tries = 0; tries < remote_.size(); ++tries) {
    const std::size_t to = next_++ % remote_.size();
    Message& message = messages_[to];
    if (is_on_its_way(message)) continue;
    message.content = known;
    MPI_Isend(message.content.data(), bytes_of(message.content), MPI_BYTE, remote_[to], kTag, communicator_,
              &message.request);
    return;
  }
}

}  // namespace shardora
