// Configuration files, of which config.resolved.cfg is one: [section], and below it key = value.
//
// A # begins a comment at the beginning of a line or after a blank, nowhere else. A value in double quotes is what
// stands between them, "" for a quote in it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shardora {

// "section.key" and value, in their order; what is given twice is there twice. Throws Error(kUsage) naming the line,
// and `where` it stands ("in FILE").
std::vector<std::pair<std::string, std::string>> parse_config(const std::string& text, const std::string& where);
// Without the blanks and line breaks around it.
std::string trimmed(std::string_view text);
// A value without line breaks as it stands in a file: in quotes where it would be read as something else without.
std::string config_value(const std::string& value);

}  // namespace shardora
