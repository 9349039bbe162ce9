#include "runtime/comm/stall.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardora {
namespace {

class Search {
 public:
  Search(std::span<const RankView> ranks, const StallLimits& limits)
      : ranks_(ranks), limits_(limits), settled_(ranks.size()) {}

  std::optional<Stall> from(std::size_t waiting) {
    std::fill(settled_.begin(), settled_.end(), false);
    chain_.clear();
    return late_peer_of(waiting);
  }

 private:
  bool waits(std::size_t rank) const { return ranks_[rank].known && ranks_[rank].state.waiting >= 0; }
  // News from another host take a few rounds.
  bool silent(std::size_t rank) const {
    return ranks_[rank].silent_seconds >= (ranks_[rank].near ? limits_.silent_seconds : limits_.seconds / 2);
  }

  // Whether they are in one group of that kind. Of the world everybody is, also who was never seen.
  bool together(std::size_t a, std::size_t b, std::size_t kind) const {
    if (kind == static_cast<std::size_t>(GroupKind::kWorld)) return true;
    if (!ranks_[b].known) return false;
    const std::int64_t leader = ranks_[a].state.leader[kind];
    return leader >= 0 && leader == ranks_[b].state.leader[kind];
  }

  std::optional<Stall> late_peer_of(std::size_t waiting) {
    chain_.push_back(waiting);
    auto stall = look_at_peers_of(waiting);
    chain_.pop_back();
    settled_[waiting] = true;
    return stall;
  }

  std::optional<Stall> look_at_peers_of(std::size_t waiting) {
    const RankView& me = ranks_[waiting];
    const auto kind = static_cast<std::size_t>(me.state.waiting);
    const std::int64_t sequence = me.state.entered[kind];
    double newest = me.still_seconds;
    std::optional<Stall> far;
    bool all_joined = true;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == waiting || !together(waiting, rank, kind)) continue;
      if (ranks_[rank].known && ranks_[rank].state.entered[kind] >= sequence) {
        newest = std::min(newest, ranks_[rank].still_seconds);
        continue;
      }
      all_joined = false;
      auto stall = not_joined(waiting, rank);
      if (!stall) continue;
      if (ranks_[rank].known || ranks_[rank].near) return stall;
      if (!far) far = Stall{.rank = -1, .seconds = stall->seconds, .why = far_away(waiting)};
    }
    if (far) return far;
    if (!all_joined || newest < limits_.seconds) return std::nullopt;
    return not_ended(waiting, newest);
  }

  std::optional<Stall> not_joined(std::size_t waiting, std::size_t rank) {
    const double seconds = std::min(ranks_[waiting].still_seconds, ranks_[rank].still_seconds);
    if (seconds < limits_.seconds) return std::nullopt;
    if (waits(rank) && !silent(rank)) {
      const auto before = std::find(chain_.begin(), chain_.end(), rank);
      if (before != chain_.end()) return circle({before, chain_.end()}, seconds);
      if (settled_[rank]) return std::nullopt;
      return late_peer_of(rank);
    }
    return named(waiting, rank, seconds, silent(rank) ? ", and " + silence_of(rank) : "");
  }

  // Each waits for the next, and the last for the first. Somebody has left out a collective: who has fewer of one group
  // than others that wait at the same place, or else who came after the one that has waited longest.
  Stall circle(const std::vector<std::size_t>& ranks, double seconds) const {
    std::size_t guilty = 0;
    while (guilty < ranks.size() && !lacks_one(ranks[guilty])) ++guilty;
    if (guilty == ranks.size()) {
      std::size_t first = 0;
      for (std::size_t i = 1; i < ranks.size(); ++i) {
        if (began_before(ranks[i], ranks[first])) first = i;
      }
      guilty = (first + 1) % ranks.size();
    }
    const std::size_t before = ranks[(guilty + ranks.size() - 1) % ranks.size()];
    return named(
        before, ranks[guilty], seconds,
        fmt::format(", and waits in {}: the ranks do not call the same collectives", operation_of(ranks[guilty])));
  }
  bool lacks_one(std::size_t rank) const {
    const RankState& mine = ranks_[rank].state;
    const auto kind = static_cast<std::size_t>(mine.waiting);
    for (std::size_t other = 0; other < ranks_.size(); ++other) {
      const RankState& state = ranks_[other].state;
      if (other == rank || !waits(other) || state.waiting != mine.waiting || !together(rank, other, kind)) continue;
      if (state.entered[kind] != mine.entered[kind]) continue;
      for (std::size_t k = 0; k < kGroupKinds; ++k) {
        if (mine.entered[k] < state.entered[k]) return true;
      }
    }
    return false;
  }
  bool began_before(std::size_t a, std::size_t b) const {
    if (ranks_[a].near && ranks_[b].near) return ranks_[a].state.since < ranks_[b].state.since;
    return ranks_[a].still_seconds > ranks_[b].still_seconds;
  }

  // All have joined. Another operation at this place is a defect; a process that stands still holds up the others.
  Stall not_ended(std::size_t waiting, double seconds) const {
    const auto kind = static_cast<std::size_t>(ranks_[waiting].state.waiting);
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      const RankView& other = ranks_[rank];
      if (rank == waiting || !together(waiting, rank, kind) || !other.known) continue;
      const bool here = other.state.waiting == ranks_[waiting].state.waiting &&
                        other.state.entered[kind] == ranks_[waiting].state.entered[kind];
      if (here && other.state.call != ranks_[waiting].state.call) {
        return {.rank = static_cast<int>(rank),
                .seconds = seconds,
                .why = fmt::format("rank {} is in {} where rank {} is in {}", rank, operation_of(rank), waiting,
                                   operation_of(waiting))};
      }
      if (silent(rank)) {
        return {.rank = static_cast<int>(rank),
                .seconds = seconds,
                .why = fmt::format("inside {}, {}", operation_of(waiting), silence_of(rank))};
      }
    }
    return {.rank = -1,
            .seconds = seconds,
            .why = fmt::format("{} was joined by all its ranks and does not end", operation_of(waiting))};
  }

  Stall named(std::size_t waiting, std::size_t rank, double seconds, const std::string& addition) const {
    const RankState& late = ranks_[rank].state;
    const std::string seen = !ranks_[rank].known          ? "; it was never seen"
                             : late.place.front() != '\0' ? fmt::format("; last seen at: {}", late.place.data())
                                                          : "";
    return {.rank = static_cast<int>(rank),
            .seconds = seconds,
            .why = fmt::format("rank {} has not joined {}{}{}", rank, operation_of(waiting), addition, seen)};
  }

  std::string far_away(std::size_t waiting) const {
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
    return fmt::format("operation #{} ({} over the {} group{}{})", state.entered[kind], state.operation.data(),
                       kGroupNames[kind], state.place.front() == '\0' ? "" : ", ", state.place.data());
  }

  std::span<const RankView> ranks_;
  const StallLimits& limits_;
  std::vector<bool> settled_;       // waits, and not for anybody late
  std::vector<std::size_t> chain_;  // each waits for the next
};

}  // namespace

std::optional<Stall> find_stall(std::span<const RankView> ranks, const StallLimits& limits) {
  const auto has_waited = [&](const RankView& rank) {
    return rank.known && rank.state.waiting >= 0 && rank.still_seconds >= limits.seconds &&
           rank.silent_seconds < limits.silent_seconds;
  };
  if (std::none_of(ranks.begin(), ranks.end(), has_waited)) return std::nullopt;
  Search search(ranks, limits);
  std::optional<Stall> unnamed;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!has_waited(ranks[rank])) continue;
    auto stall = search.from(rank);
    if (stall && stall->rank >= 0) return stall;
    if (stall && !unnamed) unnamed = std::move(stall);
  }
  return unnamed;
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
