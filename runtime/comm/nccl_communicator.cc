#include "runtime/comm/nccl_communicator.h"

#include <thread>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

nccl::DataType nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return nccl::DataType::kFloat32;
    case DType::kF64:
      return nccl::DataType::kFloat64;
    case DType::kI32:
      return nccl::DataType::kInt32;
    case DType::kI64:
      return nccl::DataType::kInt64;
    case DType::kBF16:
      return nccl::DataType::kBfloat16;
    default:
      refuse(ExitStatus::kInternal, "all_reduce of a type without arithmetic; this is a defect, please report it");
  }
}

nccl::Operation nccl_operation(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return nccl::Operation::kSum;
    case Reduction::kMax:
      return nccl::Operation::kMax;
    case Reduction::kMin:
      return nccl::Operation::kMin;
  }
  refuse(ExitStatus::kInternal, "unknown reduction; this is a defect, please report it");
}

// Made by rank 0. That it could not be made is known to all, or they would wait for it.
nccl::UniqueId shared_id(const nccl::Library& library, Communicator& host) {
  struct {
    nccl::UniqueId id{};
    std::int32_t status = 0;
  } answer;
  if (host.rank() == 0) answer.status = static_cast<std::int32_t>(library.get_unique_id(&answer.id));
  host.broadcast({&answer, DType::kU8, {sizeof answer}}, 0, {});
  const auto status = static_cast<nccl::Result>(answer.status);
  if (status != nccl::Result::kSuccess) {
    refuse(ExitStatus::kUnavailable,
           "{} could not start: {} (ncclGetUniqueId on the group's rank 0); look at its network interfaces "
           "(NCCL_SOCKET_IFNAME), or set parallel.communicator = host",
           library.description(), library.error_string(status));
  }
  return answer.id;
}

}  // namespace

NcclCommunicator::NcclCommunicator(const nccl::Library& library, Backend& backend, Communicator& host,
                                   const std::string& name, const nccl::Limits& limits, CollectiveObserver* observer,
                                   GroupKind kind)
    : DeviceCommunicator(host),
      library_(library),
      backend_(backend),
      seconds_(limits.seconds),
      queue_(backend.make_queue()),
      handle_(library, fmt::format("{}, rank {} of {}", name, host.rank(), host.size()), limits),
      observer_(observer),
      kind_(kind) {
  if (size() == 1) return;
  const nccl::UniqueId id = shared_id(library, host);
  entered({.group = kind_, .operation = "the start of NCCL", .sequence = ++queued_});
  handle_.init(size(), id, rank());
  left();
}

Event NcclCommunicator::all_reduce(TensorView values, Reduction reduction, const Event& after) {
  const nccl::DataType type = nccl_type(values.dtype);
  if (size() == 1 || values.elements() == 0) return after;
  return run("all-reduce", values, after, [&] {
    return library_.all_reduce(values.data, values.data, static_cast<std::size_t>(values.elements()), type,
                               nccl_operation(reduction), handle_.get(), queue_->native());
  });
}

Event NcclCommunicator::broadcast(TensorView values, int root, const Event& after) {
  SHARDORA_CHECK(root >= 0 && root < size());
  if (size() == 1 || values.bytes() == 0) return after;
  return run("broadcast", values, after, [&] {
    return library_.broadcast(values.data, values.data, static_cast<std::size_t>(values.bytes()), nccl::DataType::kInt8,
                              root, handle_.get(), queue_->native());
  });
}

// Until a call is settled its work may not be on the stream yet, so the end is recorded after that.
template <class Call>
Event NcclCommunicator::run(const char* operation, const TensorView& values, const Event& after, const Call& call) {
  look();
  make_room();
  queue_->wait(after);
  InFlight& latest = in_flight_[(first_ + count_) % in_flight_.size()];
  latest = {.call = {.group = kind_,
                     .operation = operation,
                     .dtype = values.dtype,
                     .count = values.elements(),
                     .sequence = ++queued_},
            .begun = queue_->record(),
            .ended = {},
            .seen = {}};
  settle(call(), latest.call);
  latest.ended = queue_->record();
  ++count_;
  return latest.ended;
}

// The first call of a kind may wait for its peers here: then what came before it is what holds it up, if anything does.
void NcclCommunicator::settle(nccl::Result status, const Collective& call) {
  if (status == nccl::Result::kInProgress) entered(count_ > 0 ? oldest().call : call);
  handle_.settle(status, call.operation);
  left();
}

void NcclCommunicator::entered(const Collective& call) {
  if (observer_ != nullptr) observer_->entered(call);
}

void NcclCommunicator::left() {
  if (observer_ != nullptr) observer_->left(kind_);
}

void NcclCommunicator::check(bool waits) {
  if (size() == 1) return;
  if (waits) look();
  if (waits && count_ > 0 && oldest().seen) {
    entered(oldest().call);
  } else {
    left();
  }
}

void NcclCommunicator::look() {
  while (count_ > 0 && backend_.passed(oldest().ended)) {
    if (observer_ != nullptr) observer_->passed(kind_, oldest().call.sequence);
    oldest() = {};
    ++first_, --count_;
  }
  handle_.check(count_ > 0 ? oldest().call.operation : "its last collective");
  // The clock of a collective starts when it does: before, it waits for this rank's own work.
  if (count_ == 0 || !backend_.passed(oldest().begun)) return;
  const double now = monotonic_seconds();
  if (!oldest().seen) oldest().seen = now;
  if (now - *oldest().seen > seconds_) {
    handle_.fail(nccl::Result::kInProgress, oldest().call.operation);
  }
}

// The host runs far ahead of the device: it may as well wait.
void NcclCommunicator::make_room() {
  while (count_ == in_flight_.size()) {
    std::this_thread::yield();
    check(true);
  }
  left();
}

}  // namespace shardora
