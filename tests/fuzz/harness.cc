#include "tests/fuzz/harness.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace shardora::fuzz {
namespace {

namespace fs = std::filesystem;

std::string length_of(std::string_view header) {
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return bytes;
}

}  // namespace

void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

void require_right_refusal(const Error& error) {
  const std::string_view message = error.what();
  const bool by_a_file = error.status() == ExitStatus::kUsage || error.status() == ExitStatus::kBadInput ||
                         error.status() == ExitStatus::kMismatch;
  require(by_a_file, std::string("refused with a status of something else: ").append(message));
  require(!message.empty(), "refused without a message");
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  require(std::none_of(message.begin(), message.end(), is_control),
          std::string("control characters in the message: ").append(message));
}

std::vector<std::string_view> split_parts(std::string_view input, std::size_t count, std::string_view separator) {
  const std::string line = "\n" + std::string(separator) + "\n";
  std::vector<std::string_view> parts;
  while (parts.size() + 1 < count) {
    const std::size_t end = input.find(line);
    if (end == std::string_view::npos) break;
    parts.push_back(input.substr(0, end));
    input.remove_prefix(end + line.size());
  }
  parts.push_back(input);
  return parts;
}

std::string safetensors_bytes(std::string_view part) {
  if (!part.starts_with('{')) return std::string(part);
  const std::vector<std::string_view> halves = split_parts(part, 2, "%%%");
  return length_of(halves[0]).append(halves[0]).append(halves.size() == 2 ? halves[1] : "");
}

Scratch::Scratch() {
  const fs::path memory = "/dev/shm";
  std::error_code ignored;
  const fs::path parent = fs::is_directory(memory, ignored) ? memory : fs::temp_directory_path();
  std::string name = (parent / "shardora-fuzz-XXXXXX").string();
  require(mkdtemp(name.data()) != nullptr, "no scratch folder " + name);
  path_ = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path Scratch::put(const std::string& name, std::string_view bytes) const {
  fs::path path = path_ / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

}  // namespace shardora::fuzz
