// The record of this rank's collectives: the last of them in a ring, and the latest state in a slot that peers read.
// Communicators of the host fill it; an operation that does not return stays the last entry, without an end.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "runtime/comm/rank_state.h"

namespace shardora {

struct Collective {
  std::int64_t sequence = 0;  // in its group, from 1
  const char* operation = nullptr;
  DType dtype = DType::kU8;
  std::int64_t count = 0;
  GroupKind group = GroupKind::kWorld;
  std::array<char, 64> place{};  // ends in 0
  double entered = 0, left = 0;  // on the monotonic clock; left 0: not yet
};
// "all_reduce of 17 float32"
std::string describe(const Collective& call);

class FlightRecord {
 public:
  FlightRecord();
  // From now on the state goes there as well. `slot` is not owned.
  void publish_to(StateSlot& slot);
  // This rank's group of that kind begins with this rank of the world.
  void join(GroupKind group, std::int64_t leader);
  // MPI and NCCL are up: from now on the limit is that of a run, not that of its start.
  void start_is_over();
  // From now on communicators compare what their ranks are about to do, before they do it.
  void check_collectives();
  bool checks() const { return checks_; }
  // What the rank is about from now on ("step 12"): progress too.
  void at(std::string_view place);
  // Progress within an operation, or of work that is none of these. From any thread.
  void progress();

  void enter(GroupKind group, const char* operation, DType dtype, std::int64_t count);
  void leave();
  // Of a device's group, whose collectives end while the host does something else and have their numbers from their
  // communicator. Its ranks are those of the host's group of kind `as`.
  void join_as(GroupKind group, GroupKind as);
  // The host waits in this collective of a device. Said again and again it is one wait; while the host waits in one of
  // another group, it is none.
  void wait_in(GroupKind group, std::int64_t sequence, const char* operation, DType dtype, std::int64_t count);
  // The host waits in none of that group any more.
  void wait_is_over(GroupKind group);
  // The device has done its collectives up to that number.
  void passed(GroupKind group, std::int64_t sequence);
  // Leaves at the end of a scope, however it ends.
  class Stay {
   public:
    explicit Stay(FlightRecord* record) : record_(record) {}
    ~Stay() {
      if (record_ != nullptr) record_->leave();
    }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;

   private:
    FlightRecord* record_;  // not owned; null: nothing is recorded
  };

  bool waits() const;                    // within a collective now
  double waited_seconds() const;         // in all collectives so far
  std::vector<Collective> last() const;  // oldest first
  Collective latest() const;

 private:
  static constexpr std::size_t kRing = 64;
  void publish() { slot_->write(state_); }
  // With the lock held.
  void begin(std::size_t kind, std::int64_t sequence, const char* operation, DType dtype, std::int64_t count);
  void end();

  mutable std::mutex mutex_;
  StateSlot own_slot_;
  StateSlot* slot_;
  RankState state_;
  std::vector<Collective> ring_ = std::vector<Collective>(kRing);
  std::size_t next_ = 0;  // counts all that were entered
  double waited_ = 0;
  std::atomic<bool> checks_ = false;
};

}  // namespace shardora
