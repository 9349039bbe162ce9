// The memory that a host's ranks share before MPI is up.
#include "runtime/watchdog/host_board.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

namespace shardora {
namespace {

namespace fs = std::filesystem;

const std::string& job() {
  static const std::string name = fmt::format("host-board-test-{}", getpid());
  return name;
}
const char* environment(const char* name) { return std::string(name) == "PMIX_NAMESPACE" ? job().c_str() : nullptr; }

TEST(HostBoardTest, RanksSeeEachOtherUntilTheNameIsForgotten) {
  HostBoard first(environment, 2, 0), second(environment, 2, 1);
  ASSERT_TRUE(first.shared() && second.shared());
  first.mine().write({.process = 5});
  RankState seen;
  ASSERT_TRUE(second.slot(0).read(seen));
  EXPECT_EQ(seen.process, 5);
  second.forget_name();
  HostBoard late(environment, 2, 1);
  EXPECT_FALSE(late.slot(0).read(seen));
  late.forget_name();
}

TEST(HostBoardTest, OneRankSharesItsBoardWithNobody) { EXPECT_FALSE(HostBoard(environment, 1, 0).shared()); }

TEST(HostBoardTest, RemovesWhatAKilledJobHasLeftADayAgo) {
  const fs::path stem = fmt::format("/dev/shm/shardora-{}-left-{}", geteuid(), getpid());
  const fs::path old = stem.string() + "-old", young = stem.string() + "-young";
  for (const fs::path& path : {old, young}) std::ofstream(path) << "left";
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(25));
  HostBoard(environment, 2, 0).forget_name();
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::remove(young));
}

}  // namespace
}  // namespace shardora
