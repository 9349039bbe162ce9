// A regular expression from an adapter's configuration or from the command line, against a module's name.
#include "runtime/formats/module_pattern.h"

#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {

void module_pattern(std::string_view input) {
  const std::vector<std::string_view> parts = split_parts(input, 2);
  const std::string pattern(parts[0]), module(parts.back());
  const auto matches = [&](ModulePattern::Match match) {
    return ModulePattern(pattern, match, "target_modules", ExitStatus::kBadInput).matches(module);
  };
  accepted([&] {
    const bool full = matches(ModulePattern::Match::kFull), suffix = matches(ModulePattern::Match::kSuffix);
    require(suffix || !full, "the whole name is a suffix too");
  });
}

}  // namespace shardora::fuzz
