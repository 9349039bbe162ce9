// Who hears what: rank 0 on standard error, every rank in its file, a warning once.
#include "runtime/observe/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

TEST(LogTest, RankZeroSpeaksOnStandardErrorWithItsRank) {
  CaptureStderr();
  Log log(0, false);
  log.info("loading {} things");  // never taken for a format
  log.warn("it broke");
  EXPECT_EQ(GetCapturedStderr(), "shardora: [rank 0] loading {} things\nshardora: [rank 0] warning: it broke\n");
}

TEST(LogTest, OtherRanksSpeakToTheirFilesAlone) {
  const TemporaryFolder folder;
  CaptureStderr();
  {
    Log log(3, false);
    log.info("too early");
    log.to_file(folder / "logs/rank-3.log");
    log.info("hello");
    log.warn("broken");
  }
  EXPECT_EQ(GetCapturedStderr(), "");
  const std::string text = text_of(folder / "logs/rank-3.log");
  EXPECT_THAT(text, HasSubstr(" [rank 3] hello\n"));
  EXPECT_THAT(text, HasSubstr(" [rank 3] warning: broken\n"));
  EXPECT_THAT(text, Not(HasSubstr("too early")));
}

TEST(LogTest, EachDistinctWarningIsSaidOnce) {
  CaptureStderr();
  Log log(0, false);
  log.warn("slow disk");
  log.warn("slow disk");
  log.warn("slow network");
  EXPECT_EQ(GetCapturedStderr(), "shardora: [rank 0] warning: slow disk\nshardora: [rank 0] warning: slow network\n");
}

TEST(LogTest, QuietKeepsInformationFromTheTerminalButNotFromTheFile) {
  const TemporaryFolder folder;
  CaptureStderr();
  Log log(0, true);
  log.to_file(folder / "rank-0.log");
  log.info("detail");
  log.warn("careful");
  EXPECT_EQ(GetCapturedStderr(), "shardora: [rank 0] warning: careful\n");
  EXPECT_THAT(text_of(folder / "rank-0.log"), HasSubstr("detail"));
}

TEST(LogTest, ALaterStartAppendsAndEveryLineIsFlushed) {
  const TemporaryFolder folder;
  for (const char* text : {"first start", "second start"}) {
    Log log(1, false);
    log.to_file(folder / "rank-1.log");
    log.info(text);
    EXPECT_THAT(text_of(folder / "rank-1.log"), HasSubstr(text));  // while it is still open
  }
  EXPECT_THAT(text_of(folder / "rank-1.log"), HasSubstr("first start"));
}

TEST(LogTest, AFileThatCannotBeOpenedIsRefused) {
  const TemporaryFolder folder;
  put_text(folder / "logs", "a file in place of the folder");
  Log log(1, false);
  expect_error(ExitStatus::kIo, {"rank-1.log"}, [&] { log.to_file(folder / "logs/rank-1.log"); });
}

}  // namespace
}  // namespace shardora
