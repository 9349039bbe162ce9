// The watchdog's rules, without threads and clocks: who is late, as one rank sees it.
//
// A rank is late when it has made no progress for as long as the limit while a peer has waited for it as long: the peer
// is in a collective that this rank has not joined. A rank that works makes progress, and is never late; one that waits
// itself is late only where all ranks wait: then one of them has left out a collective. A collective that all have
// joined and that does not end is late too: then a process stands still inside it, or the link between two hosts is
// cut.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/watchdog/rank_state.h"

namespace shardora {

// What is known here about a rank of the world.
struct RankView {
  bool known = false;  // its state has been read
  bool near = true;    // it runs on this host, so its state is read directly
  RankState state;
  double still_seconds = 0;   // since it last made progress, as watched from here
  double silent_seconds = 0;  // since its process last showed that it lives
};

struct StallLimits {
  double seconds = 0;         // without progress
  double silent_seconds = 0;  // a process that does not show itself for so long stands still, or is unreachable
};

struct Stall {
  int rank = -1;       // who is late; -1: unknown
  double seconds = 0;  // without progress
  std::string why;     // "rank 1 has not joined operation #7 (all_reduce of 17 float32 over the tensor group, step 3)"
};

// The first one found; one that names a rank, where there is one.
std::optional<Stall> find_stall(std::span<const RankView> ranks, const StallLimits& limits);
// Who reports: the lowest rank that shows itself.
int lowest_living(std::span<const RankView> ranks, const StallLimits& limits);

// Ages of what was seen, on a clock that stands while this process is suspended: a tick that comes much too late was a
// suspension (of the whole job, more often than not), and of it only two intervals count.
class PeerAges {
 public:
  PeerAges(std::size_t ranks, double interval_seconds);
  void tick(double now);  // seconds on a monotonic clock
  void see(std::size_t rank, std::int64_t progress, std::uint64_t heartbeat);
  double still_seconds(std::size_t rank) const { return awake_ - seen_[rank].moved; }
  double silent_seconds(std::size_t rank) const { return awake_ - seen_[rank].shown; }
  double awake_seconds() const { return awake_; }

 private:
  struct Seen {
    std::int64_t progress = 0;
    std::uint64_t heartbeat = 0;
    double moved = 0, shown = 0;
  };
  double interval_, awake_ = 0;
  std::optional<double> last_;
  std::vector<Seen> seen_;
};

}  // namespace shardora
