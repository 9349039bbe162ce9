// What the tests of this folder share: files, and how a refusal is compared.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernels/check.h"
#include "tests/support/temporary_folder.h"

namespace shardora {

inline void put(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// A safetensors file: length, header, data.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return length + header + data;
}

// Runs it, and expects an Error of this status whose one line contains `part`.
template <class Run>
void expect_refused(Run run, ExitStatus status, const std::string& part) {
  try {
    run();
    ADD_FAILURE() << "was accepted; expected a refusal with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    EXPECT_THAT(std::string(error.what()), testing::HasSubstr(part));
    EXPECT_THAT(std::string(error.what()), testing::Not(testing::HasSubstr("\n")));
  }
}

}  // namespace shardora
