// The record of this rank's collectives: the last of them in a ring, and the latest state in a slot that peers read.
// An operation that does not return stays the last entry, without an end.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/watchdog/rank_state.h"

namespace shardora {

struct RecordedCollective : Collective {
  std::array<char, 64> activity{};  // ends in 0
  double entered = 0, left = 0;     // on the monotonic clock; left 0: not yet
};
// "all_reduce of 17 float32"
std::string describe(const Collective& call);

// From any thread.
class FlightRecord : public CollectiveObserver {
 public:
  FlightRecord();
  // From now on the state goes there as well. `slot` is not owned.
  void publish_to(StateSlot& slot);
  // MPI and NCCL are up: from now on the limit is that of a run, not that of its start.
  void start_is_over();
  // From now on compared() is not empty.
  void check_collectives() { checks_ = true; }
  // What the rank does from now on ("step 12"), for the reports of its peers: progress too.
  void set_activity(std::string_view activity);
  std::string activity() const;

  void mpi_started(const std::vector<int>& /*remote*/) override {}
  void mpi_ends() override {}
  void joined(GroupKind group, int lowest) override;
  void entered(const Collective& call) override;
  void left(GroupKind group) override;
  void passed(GroupKind group, std::int64_t sequence) override;
  void progressed() override;
  std::string compared() const override;

  bool waits() const;                            // within a collective now
  double waited_seconds() const;                 // in all collectives so far
  std::vector<RecordedCollective> last() const;  // oldest first
  RecordedCollective latest() const;

 private:
  static constexpr std::size_t kRing = 64;
  // With the lock held.
  void publish_progress();
  void end();
  RecordedCollective& newest() { return ring_[(next_ - 1) % kRing]; }

  mutable std::mutex mutex_;
  StateSlot own_slot_;
  StateSlot* slot_;
  RankState state_;
  std::vector<RecordedCollective> ring_ = std::vector<RecordedCollective>(kRing);
  std::size_t next_ = 0;  // counts all that were entered
  double waited_ = 0;
  std::atomic<bool> checks_ = false;
};

}  // namespace shardora
