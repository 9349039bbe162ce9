#include "runtime/session/backend_setup.h"

#include <fmt/format.h>

#include "runtime/comm/agreement.h"
#include "runtime/comm/device_choice.h"
#include "runtime/comm/nccl_library.h"

namespace shardora {
namespace {

constexpr double kAfterTheWatchdogSeconds = 5;

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

struct BackendChoice {
  BackendKind kind = BackendKind::kCpu;
  std::vector<CudaDevice> devices = {};  // that this rank sees; CUDA only
  std::string why = {};                  // auto: what made it the CPU
};

// All ranks alike: auto is CUDA where every rank sees a device.
BackendChoice choose_backend(Communicator& world, const ParallelOptions& options) {
  if (options.backend == "cpu") return {};
  BackendChoice cuda{.kind = BackendKind::kCuda};
  if (options.backend == "cuda") {
    agree(world, [&] { cuda.devices = cuda_devices(); });
    return cuda;
  }
  std::string reason;
  try {
    cuda.devices = cuda_devices();
  } catch (const Error& error) {
    reason = fmt::format("rank {} says: {}", world.rank(), reason_of(error.what()));
  }
  reason = first_text(world, reason);
  if (reason.empty()) return cuda;
  return {.why = fmt::format(" (parallel.backend = auto: {})", reason)};
}

}  // namespace

BackendSetup::BackendSetup(MpiSession& session, const RunOptions& options, const ProcessGrid& grid,
                           const Binding& binding, bool host_work) {
  Communicator& world = session.world();
  const BackendChoice choice = host_work ? BackendChoice{} : choose_backend(world, options.parallel);
  bool devices_shared = false;
  if (choice.kind == BackendKind::kCuda) {
    devices_shared = make_cuda(session, choice.devices, options);
  } else {
    make_cpu(world, options.parallel, binding);
  }
  // The watchdog comes first: it can name the rank that is late.
  const nccl::Limits limits{.init_seconds = options.parallel.init_timeout_seconds + kAfterTheWatchdogSeconds,
                            .seconds = options.parallel.timeout_seconds + kAfterTheWatchdogSeconds};
  const DeviceGroupsPlan plan{.communicator = options.parallel.communicator,
                              .devices_shared = devices_shared,
                              .nccl_library = nccl::library_path(),
                              .limits = limits,
                              .observer = session.observer()};
  groups_ = std::make_unique<DeviceGroups>(grid, *backend_, plan);
  note_ = fmt::format("{}{}; {}", backend_->description(), choice.why, groups_->description());
}

void BackendSetup::make_cpu(Communicator& world, const ParallelOptions& options, const Binding& binding) {
  const BackendOptions backend{.threads = binding.threads,
                               .instruction_set = shared_instruction_set(world, options.instruction_set)};
  agree(world, [&] { backend_ = make_backend(BackendKind::kCpu, backend); });
}

bool BackendSetup::make_cuda(MpiSession& session, const std::vector<CudaDevice>& devices, const RunOptions& options) {
  const DeviceChoice choice =
      choose_device(session.world(), session.host_group(), devices, options.parallel.share_devices);
  const int count = static_cast<int>(devices.size());
  if (choice.shared) ranks_on_device_ = (session.host_local_size() + count - 1) / count;
  const BackendOptions backend{
      .device = choice.index, .attention = options.parallel.attention, .deterministic = options.train.deterministic};
  agree(session.world(), [&] { backend_ = make_backend(BackendKind::kCuda, backend); });
  return choice.shared;
}

void resolve_dtype(RunOptions& options, BackendKind kind) {
  if (options.model.dtype != "auto" || kind != BackendKind::kCuda) return;
  options.model.dtype = options.adapter.method == AdapterMethod::kFull ? "float32" : "bfloat16";
}

}  // namespace shardora
