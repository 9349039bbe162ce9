// Which device each rank computes on: the first of those it sees that no lower rank of its host has taken. So ranks
// that see all devices of a host take the device of their number there, and ranks to which the launcher shows one
// device each take that one.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend.h"
#include "runtime/comm/communicator.h"

namespace shardora {

// A rank of the world with the devices that it sees, in its order.
struct RankDevices {
  int host = 0;  // a number for each host
  std::string host_name;
  std::vector<std::string> identifiers;
};

struct DeviceChoice {
  int index = 0;        // among the devices that this rank sees
  bool shared = false;  // two ranks of the run, any two, compute on one device
};

// The arithmetic, for all ranks in the order of the world. With `share` a rank for which nothing is left takes the
// device of its number on the host, modulo those that it sees; without, it is refused: Error(kUnavailable) names host,
// ranks, devices and the remedy.
std::vector<DeviceChoice> choose_devices(const std::vector<RankDevices>& ranks, bool share);

// This rank's device. Collective over `world`; `host_group` holds the ranks of this host, `devices` is what this rank
// sees. Throws AgreedError(kUnavailable) on all ranks.
DeviceChoice choose_device(Communicator& world, Communicator& host_group, const std::vector<CudaDevice>& devices,
                           bool share);

}  // namespace shardora
