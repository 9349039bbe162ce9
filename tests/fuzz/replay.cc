// Runs each file of a corpus through its target, without a fuzzer: replay TARGET FOLDER…. What a build's tests do, with
// its own compiler and, in the debug build, its sanitizers.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/targets.h"

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const std::vector<fs::path>& folders) {
  std::vector<fs::path> files;
  for (const fs::path& folder : folders) {
    for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  const auto* target = argc > 2 ? shardora::fuzz::find_target(argv[1]) : nullptr;
  const std::vector<fs::path> folders(argv + std::min(argc, 2), argv + argc);
  if (target == nullptr ||
      !std::all_of(folders.begin(), folders.end(), [](const auto& f) { return fs::is_directory(f); })) {
    std::fprintf(stderr, "replay: expected a target's name and folders of inputs\n");
    return 64;
  }
  const std::vector<fs::path> files = files_of(folders);
  for (const fs::path& file : files) {
    const std::string input = bytes_of(file);
    std::fprintf(stderr, "%s\n", file.filename().c_str());  // before it runs: the last one named is the culprit
    target->run(input);
  }
  std::printf("%s: %zu inputs\n", argv[1], files.size());
  return files.empty() ? 1 : 0;
}
