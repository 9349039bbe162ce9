// Formats step, loss, speed and time left; decides when a line is due.
#include "runtime/observe/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

constexpr double kPlainSeconds = 5;       // between plain lines
constexpr double kTerminalSeconds = 0.1;  // a terminal need not be redrawn faster than it is read

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  const std::int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}h {:02}m", hours, minutes);
  if (minutes > 0) return fmt::format("{}m {:02}s", minutes, whole % 60);
  return fmt::format("{}s", whole);
}

void print(bool terminal, const std::string& line) {
  // Unlike fmt::print, it does not throw where standard error is gone: the line is lost, the run goes on.
  std::fprintf(stderr, "%s%s%s", terminal ? "\r" : "", line.c_str(), terminal ? "\033[K" : "\n");
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(bool enabled, std::int64_t first_step, std::int64_t last_step)
    : enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) == 1),
      first_(first_step),
      last_(last_step),
      started_(monotonic_seconds()) {}

Progress::~Progress() {
  if (!enabled_) return;
  if (!pending_.empty()) print(terminal_, pending_);
  if (terminal_ && last_print_ > 0) std::fputs("\n", stderr);
}

void Progress::step(std::int64_t step, double loss, double tokens_per_second) {
  if (!enabled_) return;
  const double now = monotonic_seconds();
  const auto done = static_cast<double>(std::max<std::int64_t>(1, step - first_ + 1));
  const double left = (now - started_) / done * static_cast<double>(last_ - step);
  pending_ = fmt::format("step {}/{}  loss {:.4f}  {:.0f} tokens/s  {} left", step, last_, loss, tokens_per_second,
                         duration(left));
  if (step != last_ && now - last_print_ < (terminal_ ? kTerminalSeconds : kPlainSeconds)) return;
  print(terminal_, pending_);
  pending_.clear();
  last_print_ = now;
}

}  // namespace shardora
