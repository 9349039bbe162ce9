// Where this run computes: the CPU, or a CUDA device of each rank, with the communicators that its memory needs.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/device_groups.h"
#include "runtime/session/cpu_affinity.h"

namespace shardora {

class BackendSetup {
 public:
  // Collective over the world. Throws AgreedError(kUnavailable) on all ranks, with found, needed and remedy, where
  // parallel.backend = cuda cannot be had; auto takes the CPU then, and logs why. host_work: the CPU, whatever
  // parallel.backend is.
  BackendSetup(MpiSession& session, const RunOptions& options, const ProcessGrid& grid, const Binding& binding,
               bool host_work = false);

  Backend& backend() { return *backend_; }
  const ProcessGrid& grid() const { return groups_->grid(); }
  int ranks_on_device() const { return ranks_on_device_; }
  const std::string& note() const { return note_; }  // for the log: the choices, and why

 private:
  void make_cpu(Communicator& world, const ParallelOptions& options, const Binding& binding);
  // Whether devices are shared.
  bool make_cuda(MpiSession& session, const std::vector<CudaDevice>& devices, const RunOptions& options);

  int ranks_on_device_ = 1;
  std::string note_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<DeviceGroups> groups_;
};

// What model.dtype = auto stands for where a run computes.
void resolve_dtype(RunOptions& options, BackendKind kind);

}  // namespace shardora
