#include "runtime/memory/arena.h"

#include <gtest/gtest.h>

namespace shardora {
namespace {

// The same code lays out a measuring and a real arena.
std::int64_t lay_out(Arena& arena) {
  arena.take("weights", DType::kF32, {3, 5});
  for (const std::int64_t rows : {7, 100, 1}) {
    ScratchScope scope(arena);
    scope.take({rows, 17});
  }
  arena.take("batch", DType::kI64, {0});
  return arena.take("batch", DType::kI32, {9}).bytes();
}

TEST(Arena, NeedsWhatItsDryRunMeasured) {
  Arena measuring;
  EXPECT_EQ(lay_out(measuring), 36);
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  Arena real(*backend, measuring.peak_bytes());
  lay_out(real);
  EXPECT_EQ(real.peak_bytes(), measuring.peak_bytes());
  EXPECT_EQ(real.segments(), measuring.segments());
}

TEST(Arena, RefusesMoreThanWasPlanned) {
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  Arena arena(*backend, 128);
  arena.take("a", DType::kF32, {16});
  arena.take("a", DType::kF32, {16});
  EXPECT_THROW(arena.take("a", DType::kU8, {1}), Error);
}

TEST(Arena, GivesScratchAgainOnceItsScopeEnds) {
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  Arena arena(*backend, 1024);
  void* first = nullptr;
  {
    ScratchScope scope(arena);
    first = scope.take({4}).data;
  }
  ScratchScope scope(arena);
  EXPECT_EQ(scope.take({4}).data, first);
  EXPECT_NE(scope.take({4}).data, first);
}

TEST(Arena, AlignsEveryView) {
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  Arena arena(*backend, 1024);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena.take("a", DType::kU8, {3}).data) % 64, 0U);
  }
}

}  // namespace
}  // namespace shardora
