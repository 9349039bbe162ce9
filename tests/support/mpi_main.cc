// main of every test program on many ranks: all ranks run every suite, rank 0 narrates, the others speak only when they
// fail, and the process ends with the worst rank's result.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/support/mpi_test.h"

namespace shardora {
namespace {

MpiSession* session = nullptr;  // owned by main

class FailuresOnly : public testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = fmt::format("{}.{}", test.test_suite_name(), test.name());
  }
  // GoogleTest holds its lock here: asking it for the current test would wait for ever.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print(stderr, "[rank {}] {}: {}:{}: {}\n", rank_, test_,
               result.file_name() == nullptr ? "" : result.file_name(), result.line_number(), result.message());
    std::fflush(stderr);
  }

 private:
  int rank_;
  std::string test_;
};

int run_all_tests() {
  const int rank = session->world().rank();
  // An exception that a test lets through would leave the peers in a collective: end all ranks at once instead.
  GTEST_FLAG_SET(catch_exceptions, false);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly(rank));
  }
  const int result = RUN_ALL_TESTS();
  return static_cast<int>(session->world().all_reduce(std::int64_t{result}, Reduction::kMax));
}

}  // namespace

MpiSession& mpi_session() { return *session; }

}  // namespace shardora

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  shardora::MpiSession session(argc, argv);
  shardora::session = &session;
  try {
    return shardora::run_all_tests();
  } catch (const std::exception& error) {
    fmt::print(stderr, "[rank {}] an exception left a test: {}\n", session.world().rank(), error.what());
    session.abort(shardora::ExitStatus::kInternal);
  }
}
