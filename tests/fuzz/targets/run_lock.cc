// The content of run.lock, where the file system knows no flock.
#include "runtime/run/run_lock.h"

#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {

void run_lock(std::string_view input) {
  const std::optional<Holder> holder = parse_holder(input);
  if (!holder) return;
  const std::string text = describe(*holder);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  for (const char c : text) require(!is_control(c), "control characters in a holder's description");
  may_still_run(*holder, this_process());
}

}  // namespace shardora::fuzz
