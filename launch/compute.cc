#include "launch/compute.h"

#include <fmt/format.h>

#include "runtime/comm/agreement.h"
#include "runtime/comm/device_choice.h"
#include "runtime/comm/nccl_library.h"

namespace shardora {
namespace {

// What is replicated must get the same bits on every rank, so all take a level that all have.
std::string shared_instruction_set(Communicator& world, const std::string& wanted) {
  if (wanted != "auto") return wanted;
  const std::vector<std::string> mine = instruction_sets();  // each one has all of those before it
  const std::int64_t shared = world.all_reduce(std::ssize(mine), Reduction::kMin);
  return mine[static_cast<std::size_t>(shared - 1)];
}

// The refusal of cuda_devices(), as a reason.
std::string reason_of(const std::string& refusal) {
  const std::string prefix = "parallel.backend = cuda: ";
  return refusal.starts_with(prefix) ? refusal.substr(prefix.size()) : refusal;
}

}  // namespace

Compute::Compute(MpiSession& session, const CommandInfo& command, const RunOptions& options, const ProcessGrid& grid,
                 const Binding& binding) {
  Communicator& world = session.world();
  if (choose_kind(world, command, options.parallel) == BackendKind::kCuda) {
    make_cuda(session, options);
  } else {
    make_cpu(world, options.parallel, binding);
  }
  groups_ = std::make_unique<DeviceGroups>(grid, *backend_,
                                           DeviceGroupsPlan{.communicator = options.parallel.communicator,
                                                            .devices_shared = devices_shared_,
                                                            .nccl_library = nccl::library_path(),
                                                            .limits = {}});
  note_ = fmt::format("{}{}{}{}", backend_->description(), note_, groups_->description().empty() ? "" : "; ",
                      groups_->description());
}

// All ranks alike: auto is CUDA where every rank sees a device.
BackendKind Compute::choose_kind(Communicator& world, const CommandInfo& command, const ParallelOptions& options) {
  if (options.backend == "cpu" || command.bit == kMerge || command.bit == kInspect) return BackendKind::kCpu;
  if (options.backend == "cuda") {
    agree(world, [&] { devices_ = cuda_devices(); });
    return BackendKind::kCuda;
  }
  std::string reason;
  try {
    devices_ = cuda_devices();
  } catch (const Error& error) {
    reason = reason_of(error.what());
  }
  const std::int64_t lacking = reason.empty() ? world.size() : world.rank();
  const std::int64_t first = world.all_reduce(lacking, Reduction::kMin);
  if (first == world.size()) return BackendKind::kCuda;
  note_ =
      fmt::format(" (parallel.backend = auto: rank {} {})", first, world.broadcast(reason, static_cast<int>(first)));
  return BackendKind::kCpu;
}

void Compute::make_cpu(Communicator& world, const ParallelOptions& options, const Binding& binding) {
  const BackendOptions backend{.threads = binding.threads,
                               .instruction_set = shared_instruction_set(world, options.instruction_set)};
  agree(world, [&] { backend_ = make_backend(BackendKind::kCpu, backend); });
}

void Compute::make_cuda(MpiSession& session, const RunOptions& options) {
  const DeviceChoice choice =
      choose_device(session.world(), session.host_group(), devices_, options.parallel.share_devices);
  devices_shared_ = choice.shared;
  const int devices = static_cast<int>(devices_.size());
  if (choice.shared) ranks_on_device_ = (session.host_local_size() + devices - 1) / devices;
  const BackendOptions backend{.device = choice.index,
                               .attention = options.parallel.attention,
                               .deterministic = options.train.deterministic};
  agree(session.world(), [&] { backend_ = make_backend(BackendKind::kCuda, backend); });
}

}  // namespace shardora
