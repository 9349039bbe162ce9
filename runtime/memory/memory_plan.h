// What a rank will hold, by name, before it holds it.
#pragma once

#include <string>
#include <vector>

#include "runtime/memory/host_memory.h"

namespace shardora {

struct MemorySegment {
  std::string name;
  std::int64_t bytes = 0;
};

struct MemoryPlan {
  std::int64_t resident_bytes = 0;  // before anything of this was taken: program, libraries, MPI, data; on a device all
                                    // that was taken there: context, workspaces, other processes
  std::vector<MemorySegment> segments;    // taken for the whole run
  std::int64_t largest_tensor_bytes = 0;  // this rank's slice of it, on its way from the file
  std::int64_t loading_bytes = 0;         // of the segments, what is there while weights are read
  bool on_device = false;                 // weights come through the host then, and libraries keep to their workspaces
  bool training = false;
  bool float32_frozen = false;  // frozen weights that could be stored in half of it

  std::int64_t run_bytes() const;
  // Libraries take pages of their own once they work (code and scratch of oneDNN, stacks, queues of MPI): 4 to
  // 36 MiB measured.
  static constexpr std::int64_t kLibrariesBytes = std::int64_t{16} << 20;
  // The most that is taken at a time, on top of resident_bytes.
  std::int64_t growth_bytes() const;
  std::int64_t peak_bytes() const { return resident_bytes + growth_bytes(); }
};

// One line a segment, largest first, and the peak.
std::string to_text(const MemoryPlan& plan);

bool fits(const MemoryPlan& plan, const HostMemory& memory, int ranks_on_host);
// Throws Error(kOutOfMemory) where so many ranks of this host do not fit: what they need, what there is, and what to
// change.
void require_fits(const MemoryPlan& plan, const HostMemory& memory, int ranks_on_host);

}  // namespace shardora
