// Words to the user: logs and progress on standard error, of rank 0 only; every rank also writes logs/rank-K.log once
// an output folder is known. Standard output carries results alone.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace shardora {

class Log {
 public:
  Log(int rank, bool quiet);  // quiet: information goes to the file alone
  ~Log();
  // From now on also there, every line flushed, after what an earlier start has written. Throws Error(kIo).
  void to_file(const std::filesystem::path& path);
  void info(std::string_view text);
  void warn(std::string_view text);  // each distinct text once
  void note(std::string_view text);  // to the file alone
  int rank() const { return rank_; }

 private:
  int rank_;
  bool quiet_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardora
