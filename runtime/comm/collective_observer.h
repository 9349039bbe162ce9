// What communicators report to whoever watches the run: which collective the host waits in, and how far each group has
// come. Implementations do not throw, and what a step calls allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace shardora {

// The last two are the data and tensor groups once more, for what runs on a device beside the host.
enum class GroupKind : std::uint8_t { kWorld, kHost, kData, kTensor, kDeviceData, kDeviceTensor };
inline constexpr std::size_t kGroupKinds = 6;
inline constexpr std::array<std::string_view, kGroupKinds> kGroupNames = {"world",  "host",        "data",
                                                                          "tensor", "device data", "device tensor"};

struct Collective {
  GroupKind group = GroupKind::kWorld;
  const char* operation = nullptr;
  DType dtype = DType::kU8;
  std::int64_t count = 0;
  std::int64_t sequence = 0;  // in its group, from 1; 0: the one after the latest
};

class CollectiveObserver {
 public:
  virtual ~CollectiveObserver() = default;

  // All ranks have started MPI, which other threads may call until mpi_ends(). `remote`: the ranks of other hosts.
  // Collective over the world.
  virtual void mpi_started(const std::vector<int>& remote) = 0;
  virtual void mpi_ends() = 0;
  // This rank's group of that kind has `lowest` as its lowest rank of the world; the device's group is the same ranks.
  virtual void joined(GroupKind group, int lowest) = 0;

  // The host waits in a collective. With a sequence, as devices give it, reports of one collective are one wait, and
  // are ignored while the host waits in another group.
  virtual void entered(const Collective& call) = 0;
  virtual void left(GroupKind group) = 0;  // where the host waits in that group
  // A device has done its group's collectives up to that number.
  virtual void passed(GroupKind group, std::int64_t sequence) = 0;
  virtual void progressed() = 0;  // within a collective

  // parallel.check_collectives: the latest collective in words, which ranks of its group compare before they start it.
  // Empty: they do not.
  virtual std::string compared() const = 0;
};

// Leaves the collective at the end of a scope, however that ends.
class CollectiveScope {
 public:
  CollectiveScope(CollectiveObserver* observer, GroupKind group) : observer_(observer), group_(group) {}
  ~CollectiveScope() {
    if (observer_ != nullptr) observer_->left(group_);
  }
  CollectiveScope(const CollectiveScope&) = delete;
  CollectiveScope& operator=(const CollectiveScope&) = delete;

 private:
  CollectiveObserver* observer_;  // not owned; null: none
  GroupKind group_;
};

}  // namespace shardora
