// What the launcher (mpirun, srun) sets in the environment, before MPI is up: enough to refuse the wrong launches that
// otherwise end in N separate one-rank runs or in pages of MPI's own words.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace shardora {

using Environment = std::function<const char*(const char*)>;  // null where the variable is not set, as std::getenv

// How many ranks the launcher started. None for a program that was started by hand.
std::optional<int> launched_ranks(const Environment& environment);
// This process's number among them, 0 where there is no launcher. Only decides who prints before MPI is up.
int launched_rank(const Environment& environment);

// Before MPI_Init. Throws Error(kUnavailable) where srun gives Open MPI no way to find its peers, or where an mpirun of
// another generation points it to plug-ins that it dies of.
void refuse_launch_without_peers(const Environment& environment, const std::string& mpi_library);
// After MPI_Init. Throws Error(kUnavailable) where MPI has another number of ranks than the launcher.
void refuse_wrong_size(const Environment& environment, int mpi_ranks);

}  // namespace shardora
