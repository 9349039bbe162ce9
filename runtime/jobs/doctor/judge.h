// The rules: from the facts of all ranks to what is wrong and what to do, without the system and without MPI. Each rule
// by itself, then all of them.
#pragma once

#include <vector>

#include "runtime/jobs/doctor/facts.h"
#include "runtime/jobs/doctor/finding.h"
#include "runtime/options.h"

namespace shardora {

// One program, one MPI, one NCCL on all ranks.
Findings judge_versions(const std::vector<RankFacts>& ranks);
// The threads of a host's ranks against the cores that they may use together.
Findings judge_cores(const std::vector<RankFacts>& ranks);
// A device for every rank, or for none. Which rank takes which is device_choice's to refuse.
Findings judge_devices(const std::vector<RankFacts>& ranks, const ParallelOptions& options);
// Several hosts: an interface between them, and the one that MPI is to use.
Findings judge_network(const std::vector<RankFacts>& ranks);
// The interfaces that MPI is to use and that this rank's host lacks.
Findings judge_interfaces(const RankFacts& rank);
// Memory of the host, and the memory through which its ranks talk.
Findings judge_memory(const std::vector<RankFacts>& ranks);

Findings judge_ranks(const std::vector<RankFacts>& ranks, const ParallelOptions& options);

// "0-3, 7".
std::string number_list(const std::vector<int>& ascending);

}  // namespace shardora
