#include "kernels/cpu/level.h"

#include <cpuid.h>

#include <array>

namespace shardora::cpu {

// One for each build of loops/ (kernels/CMakeLists.txt).
namespace x86_64 {
Loops* new_loops();
}
namespace x86_64_v3 {
Loops* new_loops();
}
namespace x86_64_v4 {
Loops* new_loops();
}

namespace {

// The features that -march of the same name may use. Three of them have names that not every compiler's
// __builtin_cpu_supports knows; they need nothing of the operating system beyond what AVX2 needs.
bool has_lzcnt_movbe_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_MOVBE) == 0 || (c & bit_F16C) == 0) return false;
  return __get_cpuid(0x80000001U, &a, &b, &c, &d) != 0 && (c & bit_LZCNT) != 0;
}
bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && has_lzcnt_movbe_f16c();
}
bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

constexpr std::array kLevels = {
    Level{"x86-64", [] { return true; }, x86_64::new_loops},
    Level{"x86-64-v3", has_v3, x86_64_v3::new_loops},
    Level{"x86-64-v4", has_v4, x86_64_v4::new_loops},
};

}  // namespace

// Here and not in the header, where each level would make a copy.
Loops::Loops() = default;
Loops::~Loops() = default;

std::vector<const Level*> supported_levels() {
  std::vector<const Level*> levels;
  for (const Level& level : kLevels) {
    if (level.supported()) levels.push_back(&level);
  }
  return levels;
}

const Level& chosen_level(const std::string& name) {
  const std::vector<const Level*> levels = supported_levels();
  if (name == "auto") return *levels.back();
  std::string names;
  for (const Level* level : levels) {
    if (level->name == name) return *level;
    names += (names.empty() ? "" : ", ") + std::string(level->name);
  }
  refuse(ExitStatus::kUnavailable, "instruction set {}: this processor does not have it; it has {}", name, names);
}

}  // namespace shardora::cpu
