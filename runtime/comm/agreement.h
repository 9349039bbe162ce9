// Collective errors: a risky phase ends in one small reduction of status, so that one rank's failure becomes one
// message and one exit status everywhere, never a hang.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace shardora {

// Thrown by agree() on every rank once any rank has failed. Only the lowest failing rank has a message to print; the
// others carry its status and an empty message. main() ends normally on it: all ranks know.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// What any exception means for the process: its exit status, and the line to say.
struct Failure {
  ExitStatus status = ExitStatus::kDone;
  std::string message;
};
// Of the exception that is being handled.
Failure current_failure();

// Runs `phase` (which calls no collective) on each rank; if it throws on any, throws AgreedError on all.
void agree(Communicator& world, const std::function<void()>& phase);

// The text of the lowest rank that has one, on all ranks; empty where none has.
std::string first_text(Communicator& world, const std::string& mine);

// The start-up handshake: every rank gives the same named fields ("version", "configuration", "model", "data",
// "split") with its values. Throws AgreedError(kMismatch) naming the first field that differs and the ranks.
using Fingerprint = std::vector<std::pair<std::string, std::string>>;
void require_agreement(Communicator& world, const Fingerprint& fields);

}  // namespace shardora
