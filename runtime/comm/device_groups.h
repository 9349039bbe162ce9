// The grid's groups for the memory of a backend: which kind of communicator, and why.
//
//   parallel.communicator   auto: NCCL where it is usable, else through host memory; the reason is logged
//                           nccl: NCCL, or an error
//                           host: through host memory
//
// On the CPU the grid's own groups serve.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/comm/collective_observer.h"
#include "runtime/comm/nccl_handle.h"
#include "runtime/comm/process_grid.h"

namespace shardora {

struct DeviceGroupsPlan {
  std::string communicator = "auto";  // ParallelOptions::communicator
  bool devices_shared = false;        // DeviceChoice::shared
  std::string nccl_library;           // nccl::library_path()
  nccl::Limits limits;
  CollectiveObserver* observer = nullptr;  // of NCCL's collectives; not owned; null: none
};

class DeviceGroups {
 public:
  // Collective over the world. `grid`, its groups and `backend` are not owned and outlive this. Throws
  // AgreedError(kUnavailable) on all ranks where NCCL was asked for and is not usable, or does not start.
  DeviceGroups(const ProcessGrid& grid, Backend& backend, const DeviceGroupsPlan& plan);

  const ProcessGrid& grid() const { return grid_; }
  const std::string& description() const { return description_; }  // for the log

 private:
  void make_nccl(const ProcessGrid& hosts, Backend& backend, const DeviceGroupsPlan& plan);
  void make_staged(const ProcessGrid& hosts, Backend& backend);

  ProcessGrid grid_;
  std::string description_;
  std::optional<nccl::Library> library_;
  std::unique_ptr<Communicator> tensor_group_, data_group_;
};

}  // namespace shardora
