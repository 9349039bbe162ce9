#include "runtime/watchdog/stall.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shardora {
namespace {

class Search {
 public:
  Search(std::span<const RankView> ranks, const StallLimits& limits) : ranks_(ranks), limits_(limits) {}

  bool has_waited(std::size_t rank) const {
    return waits(rank) && !silent(rank) && ranks_[rank].still_seconds >= limits_.seconds;
  }

  // The rank that is late, of those that this one waits for.
  std::optional<Stall> late_peer_of(std::size_t waiting) const {
    double newest = ranks_[waiting].still_seconds;
    std::optional<Stall> remote;
    bool all_joined = true;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (has_joined(rank, waiting)) newest = std::min(newest, ranks_[rank].still_seconds);
      if (!waits_for(waiting, rank)) continue;
      all_joined = false;
      const double seconds = std::min(ranks_[waiting].still_seconds, ranks_[rank].still_seconds);
      if (seconds < limits_.seconds) continue;
      if (waits(rank) && !silent(rank)) continue;  // for another rank
      if (ranks_[rank].known || ranks_[rank].near) {
        return not_joined(waiting, rank, silent(rank) ? ", and " + silence_of(rank) : "");
      }
      if (!remote) remote = Stall{.rank = -1, .seconds = seconds, .why = waits_for_other_hosts(waiting)};
    }
    if (remote) return remote;
    if (!all_joined || newest < limits_.seconds) return std::nullopt;
    return not_ended(waiting, newest);
  }

  // All ranks wait, each for another: one has left out a collective. It is the rank that has joined fewer of one group
  // than another rank in the same collective has, or else the one for which a rank has waited longest.
  std::optional<Stall> mismatch() const {
    std::optional<std::pair<std::size_t, std::size_t>> found;  // who waits, and for whom
    for (std::size_t waiting = 0; waiting < ranks_.size(); ++waiting) {
      if (!has_waited(waiting)) return std::nullopt;
      for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
        if (!waits_for(waiting, rank)) continue;
        if (!found || (!lacks_one(found->second) && (lacks_one(rank) || began_before(waiting, found->first)))) {
          found = {waiting, rank};
        }
      }
    }
    if (!found) return std::nullopt;
    const auto [waiting, culprit] = *found;
    return not_joined(
        waiting, culprit,
        fmt::format(", and waits in {}: the ranks do not call the same collectives", operation_of(culprit)));
  }

 private:
  bool waits(std::size_t rank) const { return ranks_[rank].known && ranks_[rank].state.waiting >= 0; }
  // What other hosts report arrives late.
  bool silent(std::size_t rank) const {
    return ranks_[rank].silent_seconds >= (ranks_[rank].near ? limits_.silent_seconds : limits_.seconds / 2);
  }

  // Whether they are in one group of that kind. Of the world everybody is, also who was never seen.
  bool together(std::size_t a, std::size_t b, std::size_t kind) const {
    if (kind == static_cast<std::size_t>(GroupKind::kWorld)) return true;
    if (!ranks_[b].known) return false;
    const std::int64_t lowest = ranks_[a].state.lowest[kind];
    return lowest >= 0 && lowest == ranks_[b].state.lowest[kind];
  }
  // Whether a rank has come to the collective in which its peer waits.
  bool has_joined(std::size_t rank, std::size_t waiting) const {
    const RankState& mine = ranks_[waiting].state;
    const auto kind = static_cast<std::size_t>(mine.waiting);
    return together(waiting, rank, kind) && ranks_[rank].known &&
           ranks_[rank].state.entered[kind] >= mine.entered[kind];
  }
  bool waits_for(std::size_t waiting, std::size_t rank) const {
    const auto kind = static_cast<std::size_t>(ranks_[waiting].state.waiting);
    return rank != waiting && together(waiting, rank, kind) && !has_joined(rank, waiting);
  }
  bool in_same_call(std::size_t a, std::size_t b) const {
    const std::int64_t kind = ranks_[a].state.waiting;
    return waits(a) && waits(b) && ranks_[b].state.waiting == kind && has_joined(b, a) && has_joined(a, b);
  }

  bool lacks_one(std::size_t rank) const {
    for (std::size_t other = 0; other < ranks_.size(); ++other) {
      for (std::size_t kind = 0; kind < kGroupKinds; ++kind) {
        const bool fewer = ranks_[rank].state.entered[kind] < ranks_[other].state.entered[kind];
        if (fewer && in_same_call(rank, other)) return true;
      }
    }
    return false;
  }
  bool began_before(std::size_t a, std::size_t b) const {
    if (ranks_[a].near && ranks_[b].near) return ranks_[a].state.entered_at < ranks_[b].state.entered_at;
    return ranks_[a].still_seconds > ranks_[b].still_seconds;
  }

  // All have joined. Another operation in the same place is a defect; a process that stands still holds up the others.
  Stall not_ended(std::size_t waiting, double seconds) const {
    const std::string operation = operation_of(waiting);
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == waiting || !has_joined(rank, waiting)) continue;
      const int number = static_cast<int>(rank);
      if (in_same_call(rank, waiting) && ranks_[rank].state.operation != ranks_[waiting].state.operation) {
        return {number, seconds,
                fmt::format("rank {} is in {} where rank {} is in {}", rank, operation_of(rank), waiting, operation)};
      }
      if (silent(rank)) return {number, seconds, fmt::format("inside {}, {}", operation, silence_of(rank))};
    }
    return {-1, seconds, fmt::format("{} was joined by all its ranks and does not end", operation)};
  }

  Stall not_joined(std::size_t waiting, std::size_t rank, const std::string& addition) const {
    const RankView& late = ranks_[rank];
    const std::string seen =
        late.known ? fmt::format("; last seen at: {}", late.state.activity.data()) : "; it was never seen";
    return {.rank = static_cast<int>(rank),
            .seconds = std::min(ranks_[waiting].still_seconds, late.still_seconds),
            .why = fmt::format("rank {} has not joined {}{}{}", rank, operation_of(waiting), addition, seen)};
  }

  std::string waits_for_other_hosts(std::size_t waiting) const {
    return fmt::format("{} waits for {}; all ranks of this host have joined it", operation_of(waiting), unheard());
  }

  std::string silence_of(std::size_t rank) const {
    if (ranks_[rank].near) return fmt::format("rank {} does not show itself", rank);
    return fmt::format("nothing is heard of {}: a host is lost, or the link to it is cut", unheard());
  }

  // Who is silent on other hosts, as "ranks 2 to 3, 7 of other hosts".
  std::string unheard() const {
    std::string text;
    std::size_t count = 0;
    for (std::size_t first = 0; first < ranks_.size(); ++first) {
      std::size_t end = first;
      while (end < ranks_.size() && !ranks_[end].near && silent(end)) ++end;
      if (end == first) continue;
      text += fmt::format("{}{}", count == 0 ? "" : ", ", first);
      if (end - first > 1) text += fmt::format(" to {}", end - 1);
      count += end - first;
      first = end;
    }
    return fmt::format("{} {} of other hosts", count == 1 ? "rank" : "ranks", text);
  }

  std::string operation_of(std::size_t rank) const {
    const RankState& state = ranks_[rank].state;
    const auto kind = static_cast<std::size_t>(state.waiting);
    return fmt::format("operation #{} ({} over the {} group, {})", state.entered[kind], state.operation.data(),
                       kGroupNames[kind], state.activity.data());
  }

  std::span<const RankView> ranks_;
  const StallLimits& limits_;
};

}  // namespace

std::optional<Stall> find_stall(std::span<const RankView> ranks, const StallLimits& limits) {
  const Search search(ranks, limits);
  std::optional<Stall> unnamed;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!search.has_waited(rank)) continue;
    auto stall = search.late_peer_of(rank);
    if (stall && stall->rank >= 0) return stall;
    if (stall && !unnamed) unnamed = std::move(stall);
  }
  return unnamed ? unnamed : search.mismatch();
}

int lowest_living(std::span<const RankView> ranks, const StallLimits& limits) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].known && ranks[rank].silent_seconds < limits.silent_seconds) return static_cast<int>(rank);
  }
  return -1;
}

PeerAges::PeerAges(std::size_t ranks, double interval_seconds) : interval_(interval_seconds), seen_(ranks) {}

void PeerAges::tick(double now) {
  if (last_) awake_ += std::min(now - *last_, 2 * interval_);
  last_ = now;
}

void PeerAges::see(std::size_t rank, std::int64_t progress, std::uint64_t heartbeat) {
  Seen& seen = seen_[rank];
  if (heartbeat != seen.heartbeat) seen.heartbeat = heartbeat, seen.shown = awake_;
  if (progress != seen.progress) seen.progress = progress, seen.moved = awake_;
}

}  // namespace shardora
