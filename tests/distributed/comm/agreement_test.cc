// One rank's failure is everyone's, with one message; differing configurations are named.
#include "runtime/comm/agreement.h"

#include <gmock/gmock.h>

#include <new>

#include "tests/support/mpi_test.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Caught {
  ExitStatus status = ExitStatus::kDone;
  std::string message;
};

template <class Action>
Caught caught(const Action& action) {
  try {
    action();
  } catch (const AgreedError& error) {
    return {error.status(), error.what()};
  }
  return {};
}

int rank() { return test_world().rank(); }
int last() { return test_world().size() - 1; }

TEST(Agree, ReturnsWhereEveryRankSucceeds) {
  int ran = 0;
  EXPECT_NO_THROW(agree(test_world(), [&] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(Agree, OneRanksFailureIsEveryRanksAndOnlyThatRankHasTheMessage) {
  for (int failing = 0; failing <= last(); ++failing) {
    const Caught error = caught([&] {
      agree(test_world(), [&] {
        if (rank() == failing) refuse(ExitStatus::kIo, "disk {} is full", failing);
      });
    });
    EXPECT_EQ(error.status, ExitStatus::kIo);
    EXPECT_EQ(error.message, rank() == failing ? fmt::format("disk {} is full", failing) : "");
  }
}

TEST(Agree, TheLowestFailingRankSpeaksAndItsStatusCountsEvenWhereAnotherIsWorse) {
  const Caught error = caught([&] {
    agree(test_world(), [&] {
      if (rank() == last()) refuse(ExitStatus::kUsage, "last");
      if (rank() == std::max(0, last() - 1)) refuse(ExitStatus::kCorruption, "last but one");
    });
  });
  const int speaker = std::max(0, last() - 1);
  EXPECT_EQ(error.status, last() == 0 ? ExitStatus::kUsage : ExitStatus::kCorruption);
  EXPECT_EQ(error.message, rank() != speaker ? "" : last() == 0 ? "last" : "last but one");
}

TEST(Agree, OutOfMemoryAndDefectsKeepTheirStatus) {
  EXPECT_EQ(caught([&] { agree(test_world(), [] { throw std::bad_alloc(); }); }).status, ExitStatus::kOutOfMemory);
  EXPECT_EQ(caught([&] { agree(test_world(), [] { throw std::logic_error("x"); }); }).status, ExitStatus::kInternal);
  EXPECT_EQ(caught([&] { agree(test_world(), [] { throw 7; }); }).status, ExitStatus::kInternal);
}

TEST(RequireAgreement, PassesWhereAllFieldsAreEqual) {
  EXPECT_NO_THROW(require_agreement(test_world(), {{"version", "1"}, {"data", std::string("a\0b\n", 4)}, {"", ""}}));
}

TEST(RequireAgreement, NamesTheFirstFieldThatDiffersBothValuesAndTheRanks) {
  if (last() == 0) GTEST_SKIP() << "one rank cannot disagree";
  const bool other = rank() == last();
  const Caught error = caught([&] {
    require_agreement(test_world(),
                      {{"version", "1.0"}, {"model", other ? "beta" : "alpha"}, {"data", other ? "x" : "y"}});
  });
  EXPECT_EQ(error.status, ExitStatus::kMismatch);
  if (rank() == 0) {
    EXPECT_THAT(error.message, AllOf(HasSubstr("disagree on model"), HasSubstr("'alpha'"), HasSubstr("'beta'"),
                                     HasSubstr(fmt::format("different: rank {}", last()))));
  } else {
    EXPECT_EQ(error.message, "");
  }
}

TEST(RequireAgreement, TellsOfALongValueOnlyTheLineThatDiffers) {
  if (last() == 0) GTEST_SKIP() << "one rank cannot disagree";
  const std::string line = rank() == last() ? "train.seed = 12" : "train.seed = 1";
  const Caught error = caught([&] {
    require_agreement(test_world(), {{"configuration", "train.steps = 10\n" + line + "\ntrain.epochs = 0\n"}});
  });
  EXPECT_EQ(error.status, ExitStatus::kMismatch);
  if (rank() == 0) {
    EXPECT_THAT(error.message, AllOf(HasSubstr("'train.seed = 1'"), HasSubstr("'train.seed = 12'"),
                                     Not(HasSubstr("epochs")), Not(HasSubstr("steps"))));
  }
}

TEST(RequireAgreement, AFieldThatOnlySomeRanksHaveIsADifference) {
  if (last() == 0) GTEST_SKIP() << "one rank cannot disagree";
  Fingerprint fields = {{"version", "1.0"}};
  if (rank() == last()) fields.emplace_back("instruction set", "avx512");
  const Caught error = caught([&] { require_agreement(test_world(), fields); });
  EXPECT_EQ(error.status, ExitStatus::kMismatch);
  if (rank() == 0) {
    EXPECT_THAT(error.message, AllOf(HasSubstr("instruction set"), HasSubstr("(nothing)")));
  }
}

}  // namespace
}  // namespace shardora
