// One target as libFuzzer runs it. SHARDORA_FUZZ_TARGET is its name.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"

// libFuzzer's name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  shardora::fuzz::SHARDORA_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
