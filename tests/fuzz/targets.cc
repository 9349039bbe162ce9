#include "tests/fuzz/targets.h"

#include <algorithm>
#include <array>

namespace shardora::fuzz {

std::span<const Target> targets() {
  static constexpr std::array<Target, 11> kTargets = {{{"adapter", adapter},
                                                       {"choices", choices},
                                                       {"counters", counters},
                                                       {"dataset", dataset},
                                                       {"manifest", manifest},
                                                       {"model_config", model_config},
                                                       {"module_pattern", module_pattern},
                                                       {"options", options},
                                                       {"run_lock", run_lock},
                                                       {"safetensors", safetensors},
                                                       {"weights", weights}}};
  return kTargets;
}

const Target* find_target(std::string_view name) {
  const auto all = targets();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Target& target) { return target.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace shardora::fuzz
