// Expects a refusal: its exit status, and words that its message must hold.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/check.h"

namespace shardora {

template <class Call>
void expect_error(ExitStatus status, const std::vector<std::string>& words, Call call) {
  try {
    call();
    ADD_FAILURE() << "nothing was refused; expected words: " << testing::PrintToString(words);
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(status)) << error.what();
    for (const std::string& word : words) EXPECT_THAT(error.what(), testing::HasSubstr(word));
  }
}

}  // namespace shardora
