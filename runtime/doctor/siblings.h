// The other ranks of this host before they have met: what the kernel lets anybody of the same user see.
#pragma once

#include <vector>

#include "runtime/doctor/board.h"

namespace shardora {

// Processes of the same program and the same launcher (the parent) that are stopped.
std::vector<RankDoing> stopped_siblings();
// Whether the kernel says that a process is stopped, by a signal or a debugger.
bool is_stopped(std::int64_t process);

}  // namespace shardora
