// Instruction-set levels of the x86-64 psABI: which of them the loops are compiled for, and the choice at start.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/loops.h"

namespace shardora::cpu {

struct Level {
  const char* name;
  bool (*supported)();  // by this processor and its operating system
  Loops* (*new_loops)();

  std::unique_ptr<Loops> make_loops() const { return std::unique_ptr<Loops>(new_loops()); }
};

std::vector<const Level*> supported_levels();  // lowest first, never empty

// By its name, or for "auto" the highest. Throws Error(kUnavailable) where this processor lacks it.
const Level& chosen_level(const std::string& name);

}  // namespace shardora::cpu
