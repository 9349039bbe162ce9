// Under the address sanitizer a process reserves terabytes of addresses and keeps freed memory: what a test says of a
// process's own memory does not hold there.
#pragma once

namespace shardora {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

}  // namespace shardora
