// Counts what is allocated on the heap, on every thread, between start() and stop(), and says who did it.
#pragma once

#include <map>
#include <string>

namespace shardora::allocations {

void start();
// Count by origin. A library's own: "libfoo.so". This program's: the innermost function of it that has a name.
std::map<std::string, int> stop();

}  // namespace shardora::allocations
