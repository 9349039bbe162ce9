// The state of a checkpoint: AdamW's moments, and the counters in its metadata.
#include "runtime/run/counters.h"

#include "runtime/formats/safetensors.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {

void counters(std::string_view input) {
  const Scratch scratch;
  const std::filesystem::path path = scratch.put("state.safetensors", safetensors_bytes(input));
  accepted([&] {
    read_safetensors(path);
    const Counters counters = read_counters(SafetensorsFile(path).metadata(), path.string());
    require(
        counters.step >= 0 && counters.tokens >= 0 && counters.best_step >= 0 && counters.evaluations_without_gain >= 0,
        "a negative counter");
    const auto written = to_metadata(counters);  // compared as text: a loss may be no number
    require(to_metadata(read_counters(written, "again")) == written, "other counters, read again");
  });
}

}  // namespace shardora::fuzz
