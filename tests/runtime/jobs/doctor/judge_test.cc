// Facts in, findings out: what each rule says, and when it is silent.
#include "runtime/jobs/doctor/judge.h"

#include <gmock/gmock.h>

#include "runtime/jobs/doctor/collectives.h"
#include "runtime/jobs/doctor/filesystem.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kGib = std::int64_t{1} << 30;

// Ranks in good health: two cores each, `per_host` a host.
std::vector<RankFacts> healthy(int count, int per_host) {
  std::vector<RankFacts> ranks;
  for (int rank = 0; rank < count; ++rank) {
    const int local = rank % per_host;
    RankFacts one{.rank = rank, .host = rank - local, .process = 100 + rank};
    one.program = "0.1.0 build a";
    one.mpi = "Open MPI v4.1.4";
    one.cores = {2 * local, 2 * local + 1};
    one.threads = 2;
    one.on = {.name = "host" + std::to_string(rank / per_host),
              .memory_bytes = 64 * kGib,
              .free_bytes = 60 * kGib,
              .limit = "MemAvailable",
              .shared_memory_bytes = 32 * kGib,
              .cores = 2 * per_host,
              .driver = {},
              .interfaces = {{"eth0", "10.0.0.1", 10000}}};
    one.device_refusal = "found no NVIDIA driver";
    ranks.push_back(one);
  }
  return ranks;
}

void give_devices(std::vector<RankFacts>& ranks, int per_host) {
  for (RankFacts& rank : ranks) {
    rank.on.driver = "550.54";
    rank.device_refusal.clear();
    for (int i = 0; i < per_host; ++i) {
      rank.devices.push_back(
          {.name = "NVIDIA H100", .identifier = fmt::format("GPU-{}-{}", rank.host, i), .memory_bytes = 80 * kGib});
    }
  }
}

std::string only(const Findings& findings, bool fault) {
  if (findings.size() != 1) return std::to_string(findings.size()) + " findings";
  return findings[0].fault == fault ? findings[0].text : "of the other kind: " + findings[0].text;
}

TEST(JudgeRanks, FindsNothingWhereNothingIsWrong) {
  EXPECT_THAT(judge_ranks(healthy(1, 1), {}), IsEmpty());
  std::vector<RankFacts> ranks = healthy(8, 4);
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
  give_devices(ranks, 4);
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
  EXPECT_THAT(judge_ranks(ranks, {.backend = "cuda"}), IsEmpty());
}

TEST(JudgeRanks, NamesTheRanksOfAnotherBuildOrMpiOrNccl) {
  std::vector<RankFacts> ranks = healthy(6, 3);
  for (const int rank : {3, 4, 5}) ranks[static_cast<std::size_t>(rank)].program = "0.1.0 build b";
  EXPECT_THAT(only(judge_ranks(ranks, {}), true),
              AllOf(HasSubstr("mixed versions of this program: ranks 3-5 on host host1 has '0.1.0 build b'"),
                    HasSubstr("rank 0 on host host0 has '0.1.0 build a'")));
  ranks = healthy(6, 3);
  ranks[1].mpi = "Open MPI v5.0.11";
  ranks[4].mpi = "Open MPI v5.0.11";
  EXPECT_THAT(only(judge_ranks(ranks, {}), true), HasSubstr("mixed versions of MPI: ranks 1, 4 on host host0"));
  ranks = healthy(2, 1);
  ranks[1].nccl = "NCCL 2.21.5";
  EXPECT_THAT(only(judge_ranks(ranks, {}), true), HasSubstr("mixed versions of NCCL: rank 1 on host host1"));
}

TEST(JudgeRanks, WarnsOfMoreThreadsThanCores) {
  std::vector<RankFacts> ranks = healthy(2, 2);
  for (RankFacts& rank : ranks) rank.cores = {3}, rank.threads = 1;
  EXPECT_THAT(only(judge_ranks(ranks, {}), false),
              HasSubstr("host host0: 2 ranks want 2 threads, but may use 1 of its 4 cores (3)"));
  ranks[1].cores = {4};
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
  for (RankFacts& rank : ranks) rank.cores = {0, 1};  // unbound ranks that share what there is
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
}

TEST(JudgeRanks, AMissingDeviceIsAFaultWhereItWasAskedForAndAWarningWhereOthersHaveOne) {
  std::vector<RankFacts> ranks = healthy(2, 2);
  EXPECT_THAT(only(judge_ranks(ranks, {.backend = "cuda"}), true),
              HasSubstr("ranks 0-1 on host host0: no device: found no NVIDIA driver"));
  give_devices(ranks, 2);
  ranks[1].devices.clear();
  ranks[1].device_refusal = "no device is visible";
  EXPECT_THAT(only(judge_ranks(ranks, {.backend = "cuda"}), true), HasSubstr("rank 1 on host host0: no device"));
  EXPECT_THAT(only(judge_ranks(ranks, {}), false), HasSubstr("so all ranks compute on CPUs"));
  EXPECT_THAT(judge_ranks(ranks, {.backend = "cpu"}), IsEmpty());
}

TEST(JudgeRanks, WarnsWhereEachRankSeesItsOwnDeviceOnly) {
  std::vector<RankFacts> ranks = healthy(2, 2);
  give_devices(ranks, 1);
  ranks[1].devices[0].identifier = "GPU-other";
  EXPECT_THAT(only(judge_ranks(ranks, {}), false), HasSubstr("sees its own device only"));
}

TEST(JudgeRanks, AHostWithoutNetworkMattersToSeveralHostsOnly) {
  std::vector<RankFacts> ranks = healthy(2, 1);
  ranks[1].on.interfaces.clear();
  EXPECT_THAT(only(judge_ranks(ranks, {}), true), HasSubstr("host host1: no network interface is up"));
  ranks[1].on.fabric_megabits = 400'000;
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
  std::vector<RankFacts> alone = healthy(2, 2);
  for (RankFacts& rank : alone) rank.on.interfaces.clear();
  EXPECT_THAT(judge_ranks(alone, {}), IsEmpty());
}

TEST(JudgeRanks, NamesAnInterfaceThatMpiWasToldOfAndAHostLacks) {
  std::vector<RankFacts> ranks = healthy(2, 1);
  for (RankFacts& rank : ranks) rank.mpi_interfaces = "ib0,eth0";
  ranks[0].on.interfaces.push_back({"ib0", "10.1.0.1", 0});
  EXPECT_THAT(only(judge_ranks(ranks, {}), true), AllOf(HasSubstr("interface ib0"), HasSubstr("host host1")));
  for (const char* fine : {"eth0", "^ib0", "10.0.0.0/8", "lo"}) {
    for (RankFacts& rank : ranks) rank.mpi_interfaces = fine;
    EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty()) << fine;
  }
}

TEST(JudgeRanks, WarnsOfLittleMemory) {
  std::vector<RankFacts> ranks = healthy(2, 2);
  for (RankFacts& rank : ranks) rank.on.shared_memory_bytes = std::int64_t{64} << 20;
  EXPECT_THAT(only(judge_ranks(ranks, {}), false), HasSubstr("64 MiB are free in /dev/shm"));
  ranks = healthy(1, 1);
  ranks[0].on.shared_memory_bytes = 0;  // nobody to talk to
  EXPECT_THAT(judge_ranks(ranks, {}), IsEmpty());
  ranks[0].on.free_bytes = kGib - 1;
  EXPECT_THAT(only(judge_ranks(ranks, {}), false), HasSubstr("1023 MiB of memory are free, by MemAvailable"));
}

TEST(JudgeCollectives, WrongSumsAreAFaultAndSlowOnesAWarning) {
  GroupTest test{
      .group = "tensor", .ranks = 2, .sums = {{.bytes = 1000, .seconds = 1e-3}, {.bytes = 1 << 20, .seconds = 1e-3}}};
  EXPECT_DOUBLE_EQ(test.bandwidth(), 1e3 * (1 << 20));
  EXPECT_THAT(judge_collectives({test}), IsEmpty());  // nothing to compare with
  test.expected = 3.2 * test.bandwidth();
  EXPECT_THAT(only(judge_collectives({test}), false), HasSubstr("sums over the tensor group reach 1.05 GB/s"));
  test.expected = 2.9 * test.bandwidth();
  EXPECT_THAT(judge_collectives({test}), IsEmpty());
  test.wrong = "rank 1: element 3 is 4, expected 12";
  EXPECT_THAT(only(judge_collectives({test}), true), HasSubstr("rank 1: element 3 is 4, expected 12"));
}

TEST(Expect, TakesTheSlowestPartOfTheWay) {
  const LinkFacts links{.copies = 8e9,
                        .network = 1e9,
                        .network_name = "eth0",
                        .device_link = 450e9,
                        .through_host = false,
                        .ranks_on_host = 4};
  GroupTest test{.group = "data", .ranks = 2};
  expect(test, links);
  EXPECT_EQ(test.expected, 450e9);
  test.crosses_hosts = true;
  expect(test, links);
  EXPECT_EQ(test.expected, 0.25e9);
  GroupTest world{.group = "world", .ranks = 2};
  expect(world, links);
  EXPECT_EQ(world.expected, 2e9);
}

TEST(JudgeFolder, WarnsOfLittleRoomSlowWritingAndMissingLocks) {
  const FolderFacts good{.folder = "/out", .free_bytes = 10 * kGib, .write_bytes_per_second = 1e9, .findings = {}};
  EXPECT_THAT(judge_folder(good, "h"), IsEmpty());
  FolderFacts facts = good;
  facts.free_bytes = kGib - 1;
  EXPECT_THAT(only(judge_folder(facts, "h"), false), HasSubstr("1023 MiB are free"));
  facts = good;
  facts.write_bytes_per_second = 19e6;
  EXPECT_THAT(only(judge_folder(facts, "h"), false), HasSubstr("19.0 MB/s written"));
  facts = good;
  facts.locks = false;
  EXPECT_THAT(only(judge_folder(facts, "h"), false), HasSubstr("no flock"));
}

TEST(NumberList, WritesRuns) {
  EXPECT_EQ(number_list({}), "");
  EXPECT_EQ(number_list({4}), "4");
  EXPECT_EQ(number_list({0, 1, 2, 5, 7, 8}), "0-2, 5, 7-8");
}

}  // namespace
}  // namespace shardora
