// What a rank knows of itself and of its host without asking the others; and how it gets to rank 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace shardora {

struct NetworkInterface {
  std::string name, address;
  std::int64_t megabits = 0;  // per second, 0: unknown
};

struct HostFacts {
  std::string name;
  std::int64_t memory_bytes = 0, free_bytes = 0;
  std::string limit;                     // what leaves no more than free_bytes: MemAvailable, or a control group's file
  std::int64_t shared_memory_bytes = 0;  // free in /dev/shm, through which ranks of a host talk
  int cores = 0;                         // online
  std::string driver;                    // NVIDIA's kernel module; empty: none
  std::vector<NetworkInterface> interfaces;  // up, with an address, but for the loopback
  std::int64_t fabric_megabits = 0;          // the sum of InfiniBand and RoCE ports; 0: none
};

struct RankFacts {
  int rank = 0;
  int host = 0;  // the lowest rank on it
  std::int64_t process = 0;
  std::string program, mpi, nccl;         // versions; nccl: or why it cannot be used; empty: not asked for
  int cuda_driver = 0, cuda_runtime = 0;  // 1000 * major + 10 * minor; 0: none
  std::vector<int> cores;                 // that it may use
  int threads = 1;
  std::string omp_threads;          // OMP_NUM_THREADS
  std::string mpi_interfaces;       // that MPI is to use: a list, or ^list of others; empty: all
  std::vector<CudaDevice> devices;  // that it sees
  std::string device_refusal;       // why it sees none
  HostFacts on;
};

// This host, as this process sees it. Reads files only.
HostFacts look_at_host();
// What Open MPI is to use (btl_tcp_if_include and _exclude), as RankFacts::mpi_interfaces.
std::string mpi_interfaces();

// Every rank's, in rank order, on rank 0 (empty elsewhere).
std::vector<RankFacts> gather_facts(Communicator& world, const RankFacts& mine);

}  // namespace shardora
