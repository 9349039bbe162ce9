// Which split of a plan to take.
#pragma once

#include "runtime/jobs/plan/plan.h"

namespace shardora {

// Sets best, why and as_good, from the splits and shown_speed: the fastest that fits, and which others the
// measuring cannot tell from it.
void choose_best(RunPlan& plan);

}  // namespace shardora
