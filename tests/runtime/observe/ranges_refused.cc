// Profiler ranges in a program without CUDA: refused where they are wanted.
#include "runtime/observe/ranges.h"
#include "tests/support/expect_error.h"

namespace shardora {
namespace {

TEST(ProfilerRanges, AreRefusedByAProgramWithoutThem) {
  require_profiler_ranges(false);
  expect_error(ExitStatus::kUnavailable, {"train.profile_ranges = true", "found", "needed", "--preset cuda"},
               [] { require_profiler_ranges(true); });
}

}  // namespace
}  // namespace shardora
