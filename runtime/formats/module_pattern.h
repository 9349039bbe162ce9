// A regular expression of PEFT, matched against dotted module names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/check.h"

namespace shardora {

// Only what Python's re and std::regex read alike is accepted; anything else throws Error(status) that starts with
// `where`. Matching takes time linear in the name, whatever the pattern: it comes from outside.
class ModulePattern {
 public:
  enum class Match : std::uint8_t {
    kFull,    // the whole name
    kSuffix,  // the whole name, or what follows a dot: (.*\.)?(pattern)
  };
  ModulePattern(const std::string& pattern, Match match, const std::string& where, ExitStatus status);
  bool matches(const std::string& module) const;

 private:
  std::string pattern_;
  Match match_;
  bool plain_;  // only letters, digits, _, - and dots: adapters list hundreds of these, and std::regex is slow
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;  // null where plain
};

}  // namespace shardora
