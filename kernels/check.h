// Errors, and the one way to check a call.
//
// A condition that only a defect in this program can break is written SHARDORA_CHECK(condition) and ends in exit
// status 70. What a user can cause (a bad file, a wrong key, a full disk) is thrown with refuse(status, ...): one line
// that says what, where, what was expected and what to do.
#pragma once

#include <fmt/core.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/inline.h"

namespace shardora {

// The exit status of the process. The numbers are a contract with launch scripts.
enum class ExitStatus : int {
  kDone = 0,
  kUsage = 64,        // command line or configuration
  kBadInput = 65,     // an input file is broken or not what it should be
  kMismatch = 66,     // ranks disagree, or a checkpoint does not fit the run
  kUnavailable = 69,  // a device, NCCL or MPI is not usable
  kInternal = 70,     // a defect in this program
  kOutOfMemory = 71,
  kOutputBusy = 73,    // output directory in use, not writable, or not empty
  kIo = 74,            // input/output error, disk full
  kStoppedEarly = 75,  // can be resumed
  kNotFinite = 76,     // loss or gradient
  kCorruption = 78,    // silent data corruption found
};

class Error : public std::runtime_error {
 public:
  Error(ExitStatus status, const std::string& message) : std::runtime_error(message), status_(status) {}
  ExitStatus status() const { return status_; }

 private:
  ExitStatus status_;
};

template <class... Arguments>
[[noreturn]] void refuse(ExitStatus status, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(status, fmt::format(format, std::forward<Arguments>(arguments)...));
}

[[noreturn]] void fail(std::string_view what, const char* expression, std::source_location at);
[[noreturn]] void contract_broken(const char* expression, std::source_location at);

SHARDORA_HOST_INLINE void require_ok(bool ok, const char* expression,
                                     std::source_location at = std::source_location::current()) {
  if (!ok) contract_broken(expression, at);
}
template <class Unknown>
void require_ok(Unknown, const char*) = delete;  // include the header that knows this status

#define SHARDORA_CHECK(expression) ::shardora::require_ok((expression), #expression)

}  // namespace shardora
