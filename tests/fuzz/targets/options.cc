// The command line, one word a line, and the configuration file: what is accepted is printed as config.resolved.cfg,
// which gives the same options again.
#include "launch/options.h"

#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

// Without the words that would read another file than the one of this input.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!word.starts_with("--config")) words.emplace_back(word);
  }
  return words;
}

}  // namespace

void options(std::string_view input) {
  const Scratch scratch;
  const std::vector<std::string_view> parts = split_parts(input, 2);
  std::vector<std::string> words = words_of(parts[0]);
  if (parts.size() == 2) words.push_back("--config=" + scratch.put("run.cfg", parts[1]).string());
  Invocation invocation;
  if (!accepted([&] { invocation = parse_invocation(words); })) return;
  const std::string text = resolved_config(invocation.options);
  const std::filesystem::path resolved = scratch.put("config.resolved.cfg", text);
  require(accepted([&] {
            const Invocation again = parse_invocation({words[0], "--config=" + resolved.string()});
            require(resolved_config(again.options) == text, "other options, read again");
            require(agreed_config(again.options) == agreed_config(invocation.options), "not agreed, read again");
          }),
          "refused, read again");
}

}  // namespace shardora::fuzz
