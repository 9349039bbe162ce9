// One thing that is wrong, with what to do about it, in one line. A fault is what a run would not survive (69); a
// warning costs speed or safety.
#pragma once

#include <string>
#include <vector>

namespace shardora {

struct Finding {
  bool fault = false;
  std::string text;
};
using Findings = std::vector<Finding>;

inline void append(Findings& to, Findings more) {
  for (Finding& one : more) to.push_back(std::move(one));
}

}  // namespace shardora
