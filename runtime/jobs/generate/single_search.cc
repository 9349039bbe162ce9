#include <algorithm>

#include "kernels/check.h"
#include "runtime/jobs/generate/search.h"

namespace shardora {

bool StopRule::stops(std::int32_t token) const {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

SingleSearch::SingleSearch(std::int32_t last_of_prompt, StopRule stop)
    : stop_(std::move(stop)), row_{.beam = 0, .token = last_of_prompt} {}

void SingleSearch::advance(std::span<const Candidate> candidates) {
  SHARDORA_CHECK(!done_ && candidates.size() == 1);
  row_.token = candidates[0].token;
  found_.log_probability += static_cast<double>(candidates[0].log_probability);
  found_.at_stop_token = stop_.stops(row_.token);
  if (!found_.at_stop_token) found_.tokens.push_back(row_.token);
  done_ = found_.at_stop_token || std::ssize(found_.tokens) == stop_.most_new;
}

}  // namespace shardora
