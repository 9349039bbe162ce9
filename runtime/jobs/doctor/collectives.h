// Sums over the groups of a run, as training makes them: whether they are right, and how fast.
//
//   bandwidth = 2 (n - 1) / n * bytes / seconds      what each of n ranks must at least send, and receive
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/comm/process_grid.h"
#include "runtime/jobs/doctor/finding.h"

namespace shardora {

struct TimedSum {
  std::int64_t bytes = 0;
  double seconds = 0;  // of the fastest sum, in the slowest group of the axis, all at once
};
struct GroupTest {
  std::string group;  // "world", "tensor", "data"
  int ranks = 1;
  std::vector<TimedSum> sums;
  bool crosses_hosts = false;
  std::string wrong;         // the first wrong value; empty: all right
  double expected = 0;       // bytes/s; 0: nothing is known
  std::string expectation;   // where it comes from
  double bandwidth() const;  // the best of the sizes
};

// float32 sums of growing size. Collective over the world. `say` is called with what comes next, on every rank. Groups
// of one rank are left out.
std::vector<GroupTest> test_collectives(const ProcessGrid& grid, Backend& backend,
                                        const std::function<void(const std::string&)>& say);

// Bytes/s of copies in host memory, made by every rank at once: the slowest. Collective.
double measure_copies(Communicator& world);

// What a group could reach, from what is known of the machine; 0: unknown.
struct LinkFacts {
  double copies = 0;         // measure_copies()
  double network = 0;        // bytes/s of a host's network; 0: unknown
  std::string network_name;  // "eth0: 10000 Mb/s"
  double device_link = 0;    // between devices of a host; 0: not by devices, or unknown
  bool through_host = true;  // sums are made in host memory
  int ranks_on_host = 1;
};
void expect(GroupTest& test, const LinkFacts& links);

Findings judge_collectives(const std::vector<GroupTest>& tests);

}  // namespace shardora
