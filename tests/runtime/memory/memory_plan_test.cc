// What fits, what is refused, and what the kernel's files say about it.
#include "runtime/memory/memory_plan.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <fstream>

#include "tests/support/expect_error.h"
#include "tests/support/sanitized.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kMiB = 1 << 20;

MemoryPlan plan_of(std::int64_t weights_mib, std::int64_t activations_mib) {
  return {.resident_bytes = 20 * kMiB,
          .segments = {{"norms", kMiB}, {"weights", weights_mib * kMiB}, {"activations", activations_mib * kMiB}},
          .largest_tensor_bytes = 50 * kMiB,
          .loading_bytes = weights_mib * kMiB,
          .training = true};
}

HostMemory host_of(std::int64_t shared_mib, std::int64_t process_mib) {
  return {.shared = {.free_bytes = shared_mib * kMiB, .name = "MemAvailable"},
          .process = {.free_bytes = process_mib * kMiB, .name = "ulimit -v"}};
}

TEST(MemoryPlan, PeaksInTheRunOrWhileTheLargestTensorIsRead) {
  EXPECT_EQ(plan_of(100, 200).growth_bytes(), 301 * kMiB + MemoryPlan::kLibrariesBytes);
  EXPECT_EQ(plan_of(100, 20).growth_bytes(), 150 * kMiB + MemoryPlan::kLibrariesBytes);
  EXPECT_EQ(plan_of(100, 20).peak_bytes(), 170 * kMiB + MemoryPlan::kLibrariesBytes);
}

TEST(MemoryPlan, IsPrintedLargestFirst) {
  const std::string text = to_text(plan_of(100, 200));
  EXPECT_THAT(text,
              ::testing::ContainsRegex("peak 337.0 MiB expected.*activations +200.0 MiB.*weights +100.0 MiB.*norms"));
}

TEST(MemoryPlan, ThatFitsIsAccepted) {
  EXPECT_NO_THROW(require_fits(plan_of(100, 200), host_of(400, 400), 1));
  EXPECT_NO_THROW(require_fits(plan_of(100, 200), host_of(800, 400), 2));
  EXPECT_NO_THROW(require_fits(plan_of(100, 200), {}, 1000));  // no limit is known
}

TEST(MemoryPlan, ThatCannotFitIsRefusedWithTheKeysToChange) {
  const auto refused = [](const MemoryPlan& plan, const HostMemory& host, int ranks,
                          const std::vector<std::string>& words) {
    expect_error(ExitStatus::kOutOfMemory, words, [&] { require_fits(plan, host, ranks); });
  };
  refused(plan_of(100, 200), host_of(300, 4000), 1,
          {"317.0 MiB", "300.0 MiB", "MemAvailable", "activations 200.0 MiB, weights 100.0 MiB",
           "train.micro_batch_tokens", "train.recompute", "parallel.tensor"});
  refused(plan_of(100, 200), host_of(4000, 300), 1, {"300.0 MiB (ulimit -v)"});
  refused(plan_of(100, 200), host_of(400, 4000), 2, {"each of 2 ranks on this host", "400.0 MiB"});
  refused(plan_of(900, 200), host_of(400, 4000), 1, {"weights 900.0 MiB", "raise parallel.tensor"});
}

class HostMemoryTest : public ::testing::Test {
 protected:
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  MemoryLimit shared() const {
    return read_host_memory(
               {.meminfo = folder_ / "meminfo", .own_groups = folder_ / "own", .groups = folder_ / "groups"})
        .shared;
  }
  TemporaryFolder folder_;
};

TEST_F(HostMemoryTest, IsWhatTheHostHasAvailable) {
  EXPECT_EQ(shared().name, "");  // nothing can be read
  write("meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 3000 kB\n");
  EXPECT_EQ(shared().free_bytes, 3000 * 1024);
  EXPECT_EQ(shared().name, "MemAvailable");
}

TEST_F(HostMemoryTest, IsBoundByEveryGroupAbove) {
  write("meminfo", "MemAvailable: 3000 kB\n");
  write("own", "0::/job/step\n");
  write("groups/job/step/memory.max", "max\n");
  write("groups/job/step/memory.current", "1000\n");
  EXPECT_EQ(shared().name, "MemAvailable");
  write("groups/job/memory.max", "900000\n");
  write("groups/job/memory.current", "500000\n");
  EXPECT_EQ(shared().free_bytes, 400000);
  write("groups/job/memory.stat",
        "anon 400000\ninactive_file 60000\nactive_file 40000\n");  // the kernel gives these up
  EXPECT_EQ(shared().free_bytes, 500000);
  EXPECT_THAT(shared().name, ::testing::EndsWith("groups/job/memory.max"));
}

TEST_F(HostMemoryTest, KnowsTheFirstGenerationOfGroupsAndContainers) {
  write("meminfo", "MemAvailable: 3000 kB\n");
  write("own", "5:cpu,memory:/docker/abc\n4:pids:/\n0::/\n");
  write("groups/memory/memory.limit_in_bytes", "700000\n");  // the path itself is not mounted
  write("groups/memory/memory.usage_in_bytes", "800000\n");
  EXPECT_EQ(shared().free_bytes, 0);
  EXPECT_THAT(shared().name, ::testing::EndsWith("memory.limit_in_bytes"));
}

TEST(OwnMemory, IsBoundByTheAddressSpace) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer takes memory of its own";
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  rlimit limit = before;
  limit.rlim_cur = rlim_t{1} << 40;
  if (before.rlim_max < limit.rlim_cur) GTEST_SKIP() << "this shell's limit is lower";
  setrlimit(RLIMIT_AS, &limit);
  const MemoryLimit process = read_host_memory().process;
  setrlimit(RLIMIT_AS, &before);
  EXPECT_EQ(process.name, "ulimit -v");
  EXPECT_LT(process.free_bytes, std::int64_t{1} << 40);
  EXPECT_GT(process.free_bytes, (std::int64_t{1} << 40) - (std::int64_t{1} << 36));
}

}  // namespace
}  // namespace shardora
