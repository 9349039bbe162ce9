// One line that renews itself on a terminal; plain lines, at most one every few seconds, elsewhere.
#pragma once

#include <cstdint>
#include <string>

namespace shardora {

class Progress {
 public:
  // `enabled` on rank 0 only. Writes to standard error.
  Progress(bool enabled, std::int64_t first_step, std::int64_t last_step);
  ~Progress();  // ends the line; a last line that was not due yet is printed now
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void step(std::int64_t step, double loss, double tokens_per_second);  // computes the time left

 private:
  bool enabled_, terminal_;
  std::int64_t first_, last_;
  double started_, last_print_ = -1e9;
  std::string pending_;  // the newest line, while it is not printed
};

}  // namespace shardora
