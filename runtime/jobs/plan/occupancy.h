// Whether a machine was busy with other work while its speed was measured. Two signs, either is enough: the measuring
// thread, which computes all the time, had the processor for fewer seconds than passed on the clock; or passes of the
// same work did not take the same time, so that the shortest need not be one that was undisturbed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace shardora {

struct MeasuringTime {
  double seconds = 0;            // on the clock
  double processor_seconds = 0;  // that the measuring thread had
  double shortest_seconds = 0;   // sum of each figure's shortest pass
  double median_seconds = 0;     // and of its median pass

  // The passes of one figure.
  void add(std::vector<double> passes, double processor_time);
  // What share of its speed the machine showed, by the worse of the signs: at most 1, also where nothing was measured.
  // More threads than cores take turns by themselves.
  double shown_speed(int threads, int cores) const;
};
// Whether the two shortest of these passes agree.
bool shortest_is_reproduced(std::vector<double> passes);
double thread_seconds();  // of processor time of the calling thread

bool is_disturbed(double shown_speed);

// A line that says what was seen, with the load of the host, and what to do; empty where the measuring was undisturbed.
// `kept_in`: where the figures stay; empty: nowhere.
std::string disturbance(double shown_speed, double load, int cores, const std::filesystem::path& kept_in);
double host_load();  // threads that ran or waited to run in the last minute; below 0: unknown

}  // namespace shardora
