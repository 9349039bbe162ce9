#include "kernels/cpu/loops/level_loops.h"

namespace shardora::cpu::SHARDORA_LEVEL {

Loops* new_loops() { return new LevelLoops; }

}  // namespace shardora::cpu::SHARDORA_LEVEL
