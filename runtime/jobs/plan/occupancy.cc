#include "runtime/jobs/plan/occupancy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <numeric>

#include "kernels/check.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr double kUndisturbed = 0.8;  // a share below it distorts more than a plan is off by itself
constexpr double kAgree = 1.03;

}  // namespace

void MeasuringTime::add(std::vector<double> passes, double processor_time) {
  SHARDORA_CHECK(!passes.empty());
  std::sort(passes.begin(), passes.end());
  seconds += std::accumulate(passes.begin(), passes.end(), 0.0);
  processor_seconds += processor_time;
  shortest_seconds += passes.front();
  median_seconds += passes[passes.size() / 2];
}

double MeasuringTime::shown_speed(int threads, int cores) const {
  if (seconds <= 0) return 1;
  const double turns = std::max(1.0, static_cast<double>(threads) / cores);
  return std::min({1.0, turns * processor_seconds / seconds, shortest_seconds / median_seconds});
}

bool shortest_is_reproduced(std::vector<double> passes) {
  if (passes.size() < 2) return false;
  std::partial_sort(passes.begin(), passes.begin() + 2, passes.end());
  return passes[1] <= kAgree * passes[0];
}

double thread_seconds() {
  timespec time{};
  return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0
             ? static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec)
             : 0;
}

bool is_disturbed(double shown_speed) { return shown_speed < kUndisturbed; }

std::string disturbance(double shown_speed, double load, int cores, const std::filesystem::path& kept_in) {
  if (!is_disturbed(shown_speed)) return {};
  std::string text = fmt::format("the machine is busy: measuring saw {:.0f} % of its speed", 100 * shown_speed);
  if (load >= 0) text += fmt::format(" (load {:.1f} on {} cores)", load, cores);
  text += fmt::format("; times may be {:.0f} % too long: plan again when it is idle", 100 * (1 / shown_speed - 1));
  if (!kept_in.empty()) text += fmt::format(", without {}, which keeps these figures", printable(kept_in.string()));
  return text;
}

double host_load() {
  double load = -1;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

}  // namespace shardora
