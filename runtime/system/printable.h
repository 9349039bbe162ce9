// Names from files, made safe to print: a terminal obeys control characters, and a log reader trusts line ends.
#pragma once

#include <string>
#include <string_view>

namespace shardora {

// Control characters and invalid UTF-8 of a name from outside as \xNN, and cut to a readable length.
std::string printable(std::string_view text);

}  // namespace shardora
