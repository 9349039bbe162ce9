// Whether our parser takes a file, for differential.py, which asks the reference in the same process.
#include <algorithm>
#include <cstddef>
#include <exception>
#include <string_view>

#include "runtime/formats/safetensors.h"

// 1: accepted. 0: refused, with the reason in `reason`, cut to `room` bytes with a zero at its end. -1: the same, but
// not with an Error of a bad input.
extern "C" int shardora_accepts(const char* path, char* reason, std::size_t room) {  // NOLINT
  const auto tell = [&](std::string_view text, int answer) {
    const std::size_t length = std::min(text.size(), room - 1);
    std::copy_n(text.data(), length, reason);
    reason[length] = '\0';
    return answer;
  };
  try {
    const shardora::SafetensorsFile file(path);
    return 1;
  } catch (const shardora::Error& error) {
    return tell(error.what(), error.status() == shardora::ExitStatus::kBadInput ? 0 : -1);
  } catch (const std::exception& error) {
    return tell(error.what(), -1);
  }
}
