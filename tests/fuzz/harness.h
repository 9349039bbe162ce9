// What the targets share: files to read from, and what a right refusal is.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/check.h"

namespace shardora::fuzz {

// Ends the process, with the text, where it does not hold: what the fuzzer calls a finding.
void require(bool holds, std::string_view what);
// A status that a file can cause, and one line that a terminal can be trusted with.
void require_right_refusal(const Error& error);

// Whether it ends without an error. An Error must be a right refusal; every other exception is a finding.
template <class Run>
bool accepted(const Run& run) {
  try {
    run();
    return true;
  } catch (const Error& error) {
    require_right_refusal(error);
    return false;
  }
}

// The parts between lines of `separator`: at most `count`, the last takes the rest.
std::vector<std::string_view> split_parts(std::string_view input, std::size_t count, std::string_view separator = "%%");
// The bytes of a safetensors file: given as such, or as header and data.
std::string safetensors_bytes(std::string_view part);

// A folder in memory, removed at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path put(const std::string& name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

}  // namespace shardora::fuzz
