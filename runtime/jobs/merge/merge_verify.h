// Whether a merged model computes what base and adapter computed: both are loaded, and the logits of one fixed sequence
// compared. Collective over the world.
#pragma once

#include <filesystem>

#include "runtime/jobs/merge/merge.h"

namespace shardora {

// Largest difference of two logits over the largest logit. Throws AgreedError(kCorruption) where it is more than the
// cast to the merged model's type explains.
double verify_merge(const RunOptions& options, const Context& context, const std::filesystem::path& folder);

}  // namespace shardora
