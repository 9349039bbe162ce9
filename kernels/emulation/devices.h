// What the emulated machine pretends to be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/emulation/cuda_runtime.h"

namespace shardora::emulation {

struct Device {
  int major = 9, minor = 0;
  std::size_t memory_bytes = std::size_t{8} << 30;
};
struct Machine {
  int driver_version = 13000;  // 0: no driver
  std::size_t cublaslt_version = 130100;
  std::vector<Device> devices = {{}};
  std::string fused_problem;  // why there is no fused library; empty: there is one
};
Machine& machine();             // starts as one device of Hopper's kind
std::size_t allocated_bytes();  // on the current device
std::size_t events_made();
std::int64_t& fused_runs();  // graphs that the fused library ran

}  // namespace shardora::emulation
