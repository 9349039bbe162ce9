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

Gossip::Gossip(MPI_Comm world, std::vector<int> far) : far_(std::move(far)), letters_(far_.size()) {
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

// One that has arrived gives its memory back.
bool Gossip::is_on_its_way(Letter& letter) {
  int done = 0;
  if (MPI_Test(&letter.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) return true;
  letter.news = {};
  return false;
}

void Gossip::send(const std::vector<News>& known) {
  for (std::size_t tries = 0; tries < far_.size(); ++tries) {
    const std::size_t to = next_++ % far_.size();
    Letter& letter = letters_[to];
    if (is_on_its_way(letter)) continue;
    letter.news = known;
    MPI_Isend(letter.news.data(), bytes_of(letter.news), MPI_BYTE, far_[to], kTag, communicator_, &letter.request);
    return;
  }
}

}  // namespace shardora
