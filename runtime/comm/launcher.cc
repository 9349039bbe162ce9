#include "runtime/comm/launcher.h"

#include <charconv>
#include <cstring>
#include <string_view>

#include "kernels/check.h"

namespace shardora {
namespace {

constexpr const char* kAdvice =
    "start with srun --mpi=pmix (srun --mpi=list shows what this cluster has) or with the mpirun of the MPI that this "
    "program was built with";

std::optional<int> number(const Environment& environment, const char* name) {
  const char* const text = environment(name);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// SLURM_NTASKS would be wrong: a tool run by hand inside a job has it too.
std::optional<int> slurm_step_tasks(const Environment& environment) {
  if (environment("SLURM_STEP_ID") == nullptr) return std::nullopt;
  return number(environment, "SLURM_STEP_NUM_TASKS");
}

// "5" of "5.0.11" and of "Open MPI v5.0.11, package: …".
std::string major_version(std::string_view text) {
  const std::size_t digit = text.find_first_of("0123456789");
  return digit == std::string_view::npos ? "" : std::string(text.substr(digit, text.find('.', digit) - digit));
}

// A relocated mpirun tells programs where its plug-ins are, and another generation's library dies of them.
void refuse_foreign_plug_ins(const Environment& environment, const std::string& mpi_library) {
  const char* const version = environment("OMPI_VERSION");  // mpirun's own, from 5 on
  const char* const prefix = environment("OPAL_PREFIX");
  if (version == nullptr || prefix == nullptr || major_version(version) == major_version(mpi_library)) return;
  refuse(ExitStatus::kUnavailable,
         "mpirun is Open MPI {}, this program uses {}, which would die of the plug-ins in OPAL_PREFIX = {}; {}",
         version, mpi_library.substr(0, mpi_library.find(',')), prefix, kAdvice);
}

}  // namespace

std::optional<int> launched_ranks(const Environment& environment) {
  if (const auto size = number(environment, "OMPI_COMM_WORLD_SIZE")) return size;
  if (const auto size = number(environment, "PMI_SIZE")) return size;
  return slurm_step_tasks(environment);
}

// Never from SLURM_PROCID: under mpirun that is the daemon's.
int launched_rank(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const auto rank = number(environment, name)) return *rank;
  }
  return 0;
}

void refuse_launch_without_peers(const Environment& environment, const std::string& mpi_library) {
  const bool open_mpi = mpi_library.find("Open MPI") != std::string::npos;
  const bool mpirun = environment("OMPI_COMM_WORLD_SIZE") != nullptr;
  const int tasks = slurm_step_tasks(environment).value_or(1);
  if (open_mpi && mpirun) refuse_foreign_plug_ins(environment, mpi_library);
  if (!open_mpi || mpirun || tasks <= 1 || environment("PMIX_RANK") != nullptr) return;
  refuse(ExitStatus::kUnavailable, "srun started {} tasks without PMIx, so Open MPI cannot find the peers; {}", tasks,
         kAdvice);
}

void refuse_wrong_size(const Environment& environment, int mpi_ranks) {
  const int expected = launched_ranks(environment).value_or(mpi_ranks);
  if (expected == mpi_ranks) return;
  refuse(ExitStatus::kUnavailable, "the launcher started {} ranks, but MPI has {}: they cannot see each other; {}",
         expected, mpi_ranks, kAdvice);
}

}  // namespace shardora
