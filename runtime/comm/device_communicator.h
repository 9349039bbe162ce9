// What communicators for device memory have in common: they are built on a group for host memory, which lends them its
// ranks and does everything that is small.
#pragma once

#include "runtime/comm/communicator.h"

namespace shardora {

class DeviceCommunicator : public Communicator {
 public:
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  Communicator& host() override { return host_; }
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, int root) override {
    return host_.gather(mine, root);
  }
  void barrier() override { host_.barrier(); }

 protected:
  explicit DeviceCommunicator(Communicator& host) : host_(host) {}

 private:
  Communicator& host_;  // not owned
};

}  // namespace shardora
