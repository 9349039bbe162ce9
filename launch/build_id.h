// Which build of the program this is: its version, and what the linker wrote into it.
#pragma once

#include <string>

namespace shardora {

// "0.1.0 build 1f3c…": the same for copies of one file, another for another build. Without a build id from the linker,
// the version alone.
std::string program_identity();

}  // namespace shardora
