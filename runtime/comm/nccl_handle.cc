#include "runtime/comm/nccl_handle.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "runtime/system/proc.h"

namespace shardora::nccl {
namespace {

ExitStatus status_of(Result result) {
  const bool lost = result == Result::kRemoteError || result == Result::kSystemError || result == Result::kInProgress;
  return lost ? ExitStatus::kStoppedEarly : ExitStatus::kUnavailable;
}

}  // namespace

Handle::Handle(const Library& library, std::string group, const Limits& limits)
    : library_(library), group_(std::move(group)), limits_(limits), exceptions_at_birth_(std::uncaught_exceptions()) {}

Handle::~Handle() {
  if (communicator_ == nullptr) return;
  const bool healthy = !failed_ && std::uncaught_exceptions() <= exceptions_at_birth_;
  const Result status = shut_down(healthy);
  if (status == Result::kSuccess) return;
  std::fprintf(stderr, "shardora: NCCL, %s: the end did not succeed: %s\n", group_.c_str(),
               status == Result::kInProgress ? "no answer in time" : library_.error_string(status));
}

Result Handle::shut_down(bool healthy) {
  const auto settled = [&](Result status) {
    return status == Result::kInProgress ? poll(limits_.teardown_seconds) : status;
  };
  if (healthy) {
    const Result finalized = settled(library_.finalize(communicator_));
    if (finalized == Result::kSuccess) return library_.destroy(communicator_);
    settled(library_.abort(communicator_));
    return finalized;
  }
  return settled(library_.abort(communicator_));
}

void Handle::init(int ranks, const UniqueId& id, int rank) {
  Config config;
  config.blocking = 0;
  Result status = library_.init_rank(&communicator_, ranks, id, rank, &config);
  if (status == Result::kInProgress) status = poll(limits_.init_seconds);
  if (status == Result::kSuccess) return;
  failed_ = true;
  if (status == Result::kInProgress) {
    refuse(ExitStatus::kUnavailable,
           "NCCL, {}: not all ranks arrived within {:g} s; look at the network between the hosts "
           "(NCCL_DEBUG=INFO tells which one NCCL takes), or set parallel.communicator = host",
           group_, limits_.init_seconds);
  }
  refuse(ExitStatus::kUnavailable,
         "NCCL, {}: {} could not start: {} ({}); NCCL_DEBUG=INFO tells more, parallel.communicator = host does without",
         group_, library_.description(), library_.error_string(status), library_.last_error(communicator_));
}

void Handle::settle(Result status, const char* operation) {
  if (status == Result::kInProgress) status = poll(limits_.seconds);
  if (status != Result::kSuccess) fail(status, operation);
}

void Handle::check(const char* operation) {
  Result state = Result::kSuccess;
  const Result asked = library_.async_error(communicator_, &state);
  const Result status = asked == Result::kSuccess ? state : asked;
  if (status != Result::kSuccess && status != Result::kInProgress) fail(status, operation);
}

void Handle::fail(Result status, const char* operation) {
  failed_ = true;
  if (status == Result::kInProgress) {
    refuse(status_of(status), "NCCL, {}: {} did not end within {:g} s; a peer or the network may be gone", group_,
           operation, limits_.seconds);
  }
  refuse(status_of(status), "NCCL, {}: {} failed: {} ({}); a peer, its device or the network may be gone", group_,
         operation, library_.error_string(status), library_.last_error(communicator_));
}

// What NCCL has come to; kInProgress where it has not within the time.
Result Handle::poll(double seconds) const {
  constexpr double kEagerSeconds = 200e-6;
  const double start = monotonic_seconds();
  while (true) {
    Result state = Result::kSuccess;
    const Result asked = library_.async_error(communicator_, &state);
    const Result status = asked == Result::kSuccess ? state : asked;
    const double waited = monotonic_seconds() - start;
    if (status != Result::kInProgress || waited > seconds) return status;
    // Most calls settle at once; a start or a lost peer takes its time.
    waited < kEagerSeconds ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

}  // namespace shardora::nccl
