#include "runtime/comm/device_groups.h"

#include "runtime/comm/agreement.h"
#include "runtime/comm/host_staged_communicator.h"
#include "runtime/comm/nccl_communicator.h"

namespace shardora {
namespace {

// Why NCCL cannot be used, the same on every rank; empty where it can. `library` is what this rank loaded.
std::string obstacle(Communicator& world, const DeviceGroupsPlan& plan, std::optional<nccl::Library>& library) {
  if (plan.devices_shared)
    return "NCCL: found ranks that share a device, needed one for each rank; start one rank a device, or set "
           "parallel.communicator = host";
  std::string mine;
  try {
    library = nccl::load(plan.nccl_library);
  } catch (const Error& error) {
    mine = error.what();
  }
  if (const std::string first = first_text(world, mine); !first.empty()) return first;
  const std::int64_t oldest = world.all_reduce(std::int64_t{library->version}, Reduction::kMin);
  const std::int64_t newest = world.all_reduce(std::int64_t{library->version}, Reduction::kMax);
  if (oldest == newest) return {};
  return fmt::format(
      "NCCL: found versions {} and {} (major * 10000 + minor * 100 + patch), needed one on all hosts; "
      "install one, or set parallel.communicator = host",
      oldest, newest);
}

[[noreturn]] void refuse_everywhere(Communicator& world, const std::string& why) {
  throw AgreedError(ExitStatus::kUnavailable, world.rank() == 0 ? "parallel.communicator = nccl: " + why : "");
}

}  // namespace

DeviceGroups::DeviceGroups(const ProcessGrid& grid, Backend& backend, const DeviceGroupsPlan& plan) : grid_(grid) {
  Communicator& world = *grid.world;
  const bool asked = plan.communicator == "nccl";
  if (backend.kind() != BackendKind::kCuda) {
    if (asked)
      refuse_everywhere(
          world, "found the CPU backend, needed parallel.backend = cuda; set it, or parallel.communicator = auto");
    description_ = "communicator: MPI";
    return;
  }
  if (!asked && world.size() == 1) {
    make_staged(grid, backend);
    description_ = "communicator: none, one rank";
    return;
  }
  std::string why = "asked for";
  if (plan.communicator != "host") {
    why = obstacle(world, plan, library_);
    if (asked && !why.empty()) refuse_everywhere(world, why);
    if (why.empty()) {
      make_nccl(grid, backend, plan);
      description_ = "communicator: " + library_->description();
      return;
    }
  }
  make_staged(grid, backend);
  description_ = "communicator: host memory through MPI (" + why + ")";
}

// One axis of the grid at a time. Within it, groups have no rank in common and each waits for its own, within bounds.
void DeviceGroups::make_nccl(const ProcessGrid& hosts, Backend& backend, const DeviceGroupsPlan& plan) {
  const auto make = [&](Communicator& host, const char* name, GroupKind kind) {
    std::unique_ptr<Communicator> made;
    agree(*hosts.world, [&] {
      made = std::make_unique<NcclCommunicator>(*library_, backend, host, name, plan.limits, plan.observer, kind);
    });
    return made;
  };
  tensor_group_ = make(*hosts.tensor_group, "tensor group", GroupKind::kDeviceTensor);
  data_group_ = make(*hosts.data_group, "data group", GroupKind::kDeviceData);
  grid_.tensor_group = tensor_group_.get();
  grid_.data_group = data_group_.get();
}

void DeviceGroups::make_staged(const ProcessGrid& hosts, Backend& backend) {
  agree(*hosts.world, [&] {
    tensor_group_ = std::make_unique<HostStagedCommunicator>(backend, *hosts.tensor_group);
    data_group_ = std::make_unique<HostStagedCommunicator>(backend, *hosts.data_group);
  });
  grid_.tensor_group = tensor_group_.get();
  grid_.data_group = data_group_.get();
}

}  // namespace shardora
