// Starts the program as a user would, on one rank or by mpirun, and keeps what it said.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace shardora {

// How many ranks run, and how many of them share a replica.
struct Split {
  int ranks = 1, tensor = 1;
};
inline std::string to_string(const Split& split) {
  return std::to_string(split.ranks) + " ranks, tensor " + std::to_string(split.tensor);
}

struct ProgramRun {
  int status = 0;
  std::string output, errors;
  nlohmann::json result() const {  // the JSON object on the last line of standard output
    std::string text = output;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return nlohmann::json::parse(text.substr(text.find_last_of('\n') + 1));
  }
};

inline std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A run that takes longer than this hangs: its status is 124. `before`: shell commands, ended by a semicolon.
// `threads`: 0 for a command without that key.
inline ProgramRun run_program(const Split& split, std::vector<std::string> words, int limit_seconds = 120,
                              const std::string& before = {}, int threads = 1,
                              const std::string& program = SHARDORA_PROGRAM) {
  const TemporaryFolder folder;
  const std::filesystem::path errors = folder / "errors";
  if (split.tensor > 1) words.push_back("--parallel.tensor=" + std::to_string(split.tensor));
  if (threads > 0) words.push_back("--parallel.threads=" + std::to_string(threads));
  std::string command = before +
                        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_WAIT_POLICY=passive timeout " +
                        std::to_string(limit_seconds) + " ";
  if (split.ranks > 1) {
    command += quoted(SHARDORA_MPIEXEC) + " -q -n " + std::to_string(split.ranks) + " --oversubscribe --bind-to none ";
  }
  command += quoted(program);
  for (const std::string& word : words) command += " " + quoted(word);
  FILE* pipe = popen((command + " 2>" + quoted(errors.string())).c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot start " + command);
  ProgramRun run;
  char piece[4096];
  for (std::size_t n = 0; (n = fread(piece, 1, sizeof piece, pipe)) > 0;) run.output.append(piece, n);
  run.status = WEXITSTATUS(pclose(pipe));
  run.errors = text_of(errors);
  return run;
}

// The same, where success is expected.
inline nlohmann::json must_run(const Split& split, const std::vector<std::string>& words) {
  const ProgramRun run = run_program(split, words);
  if (run.status == 0) return run.result();
  throw std::runtime_error("ended with status " + std::to_string(run.status) + "\n" + run.errors);
}

}  // namespace shardora
