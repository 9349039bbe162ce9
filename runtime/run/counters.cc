#include "runtime/run/counters.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "runtime/system/printable.h"

namespace shardora {
namespace {

const std::string& text_of(const std::map<std::string, std::string>& metadata, const char* key,
                           const std::string& file) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) refuse(ExitStatus::kBadInput, "{}: counter {} is missing", printable(file), key);
  return found->second;
}

[[noreturn]] void refuse_counter(const std::string& file, const char* key, const std::string& text,
                                 const char* expected) {
  refuse(ExitStatus::kBadInput, "{}: counter {} is '{}', expected {}; use another checkpoint", printable(file), key,
         printable(text), expected);
}

}  // namespace

std::map<std::string, std::string> to_metadata(const Counters& counters) {
  return {{"format", "shardora.state.v1"},
          {"step", std::to_string(counters.step)},
          {"tokens", std::to_string(counters.tokens)},
          {"best_loss", fmt::format("{:a}", counters.best_loss)},  // to the bit
          {"best_step", std::to_string(counters.best_step)},
          {"evaluations_without_gain", std::to_string(counters.evaluations_without_gain)}};
}

Counters read_counters(const std::map<std::string, std::string>& metadata, const std::string& file) {
  const auto whole = [&](const char* key) {
    const std::string& text = text_of(metadata, key, file);
    std::int64_t value = -1;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || stop != text.data() + text.size() || value < 0) {
      refuse_counter(file, key, text, "a whole number from 0");
    }
    return value;
  };
  const auto real = [&](const char* key) {
    const std::string& text = text_of(metadata, key, file);
    char* stop = nullptr;
    const double value = std::strtod(text.c_str(), &stop);
    if (text.empty() || stop != text.c_str() + text.size()) refuse_counter(file, key, text, "a number");
    return value;
  };
  return {.step = whole("step"),
          .tokens = whole("tokens"),
          .best_loss = real("best_loss"),
          .best_step = whole("best_step"),
          .evaluations_without_gain = whole("evaluations_without_gain")};
}

}  // namespace shardora
