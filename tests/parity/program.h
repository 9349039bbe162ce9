// Starts the program under test as a user would, and reads what it left behind.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace shardora::parity {

using nlohmann::json;
namespace fs = std::filesystem;

// How many ranks run, and how many of them share a replica.
struct Split {
  int ranks = 1, tensor = 1;
};
inline std::string to_string(const Split& split) {
  return std::to_string(split.ranks) + " ranks, tensor " + std::to_string(split.tensor);
}

inline std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Runs `shardora words…` on so many ranks; returns the JSON object on its last line. Throws with all that it said where
// its exit status is not 0.
inline json run_program(const Split& split, std::vector<std::string> words, const fs::path& log) {
  words.push_back("--parallel.tensor=" + std::to_string(split.tensor));
  words.push_back("--parallel.threads=1");
  std::string command = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_WAIT_POLICY=passive ";
  if (split.ranks > 1) {
    command += quoted(SHARDORA_MPIEXEC) + " -n " + std::to_string(split.ranks) + " --oversubscribe --bind-to none ";
  }
  command += quoted(SHARDORA_PROGRAM);
  for (const std::string& word : words) command += " " + quoted(word);
  command += " 2>" + quoted(log.string());

  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot start " + command);
  std::string output;
  char piece[4096];
  for (std::size_t n = 0; (n = fread(piece, 1, sizeof piece, pipe)) > 0;) output.append(piece, n);
  const int status = pclose(pipe);
  if (status != 0) {
    std::ostringstream said;
    said << std::ifstream(log).rdbuf();
    throw std::runtime_error(command + "\nended with status " + std::to_string(WEXITSTATUS(status)) + "\n" +
                             said.str());
  }
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return json::parse(output.substr(output.find_last_of('\n') + 1));
}

}  // namespace shardora::parity
