// When a progress line is due, and what it says, on a terminal and elsewhere.
#include "runtime/observe/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

namespace shardora {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

std::size_t lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(ProgressTest, ElsewhereTheFirstAndTheLastLineAreWrittenAndFewBetween) {
  CaptureStderr();
  {
    Progress progress(true, 1, 1000);
    for (std::int64_t step = 1; step <= 1000; ++step) progress.step(step, 2.5, 1234.4);
  }
  const std::string text = GetCapturedStderr();
  EXPECT_THAT(text, StartsWith("step 1/1000  loss 2.5000  1234 tokens/s  "));
  EXPECT_THAT(text, HasSubstr("step 1000/1000  loss 2.5000  1234 tokens/s  0s left\n"));
  EXPECT_EQ(lines(text), 2U);
}

TEST(ProgressTest, ARunThatEndsEarlyStillShowsItsLastStep) {
  CaptureStderr();
  {
    Progress progress(true, 1, 1000);
    for (std::int64_t step = 1; step <= 7; ++step) progress.step(step, 1, 1);
  }
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("step 7/1000"));
}

TEST(ProgressTest, OtherRanksAreSilent) {
  CaptureStderr();
  {
    Progress progress(false, 1, 2);
    progress.step(1, 1, 1);
    progress.step(2, 1, 1);
  }
  EXPECT_EQ(GetCapturedStderr(), "");
}

TEST(ProgressTest, OnATerminalOneLineRenewsItself) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) GTEST_SKIP() << "no pseudo-terminals here";
  const int side = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(side, 0);
  const int saved = dup(STDERR_FILENO);
  ASSERT_GE(dup2(side, STDERR_FILENO), 0);
  {
    Progress progress(true, 1, 3);
    for (std::int64_t step = 1; step <= 3; ++step) progress.step(step, 1, 1);
  }
  dup2(saved, STDERR_FILENO);
  close(saved);
  // The kernel hands a terminal's bytes over in the background: read on until the line has ended.
  std::string text;
  std::array<char, 4096> buffer{};
  pollfd arrival{.fd = terminal, .events = POLLIN, .revents = 0};
  while (text.find('\n') == std::string::npos && poll(&arrival, 1, 10'000) > 0) {
    const ssize_t size = read(terminal, buffer.data(), buffer.size());
    if (size <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  close(side);
  close(terminal);
  EXPECT_THAT(text, StartsWith("\rstep 1/3"));
  EXPECT_THAT(text, HasSubstr("\033[K\rstep 3/3"));
  EXPECT_EQ(lines(text), 1U);  // the destructor's
}

}  // namespace
}  // namespace shardora
