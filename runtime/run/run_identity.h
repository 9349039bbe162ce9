// What must be the same for a checkpoint to continue as the same run: values by configuration key, kept in the
// manifest.
#pragma once

#include <map>
#include <string>

#include "runtime/options.h"

namespace shardora {

// Absent in runs that fill the last step of their epochs with repeated data: all that were begun before it was known.
constexpr const char* kLastStep = "train.epochs (last step)";

using RunIdentity = std::map<std::string, std::string>;

RunIdentity run_identity(const RunOptions& options, const std::string& model_fingerprint,
                         const std::string& data_fingerprint);
std::string to_json(const RunIdentity& identity);
// Throws Error(kMismatch) naming the first key that differs and both values.
void require_same_run(const std::string& saved_json, const RunIdentity& now, const std::string& checkpoint);

}  // namespace shardora
