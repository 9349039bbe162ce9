// A checkpoint's manifest. Its last line is a checksum that no fuzzer guesses, so the input is tried as it is and with
// the right one behind it; what is read can be rendered, and is then read as the same.
#include <fmt/core.h>

#include "runtime/run/checkpoints.h"
#include "runtime/run/run_identity.h"
#include "runtime/system/files.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

std::string sealed(std::string_view body) {
  return fmt::format("{},\n  \"checksum\": \"{}\"\n}}\n", body, hex(checksum(std::as_bytes(std::span(body)))));
}

void read_one(const Scratch& scratch, std::string_view text) {
  ManifestFile content;
  if (!accepted([&] { content = read_manifest(scratch.put("manifest.json", text)); })) return;
  accepted([&] { require_same_run(content.manifest.configuration_json, {{"train.seed", "1"}}, "step-1"); });
  const std::filesystem::path again = scratch.put("again.json", render_manifest(content));
  require(accepted([&] {
            const ManifestFile same = read_manifest(again);
            require(same.files == content.files && same.manifest.step == content.manifest.step &&
                        same.manifest.configuration_json == content.manifest.configuration_json,
                    "another manifest, read again");
          }),
          "refused, read again");
}

}  // namespace

void manifest(std::string_view input) {
  const Scratch scratch;
  read_one(scratch, input);
  read_one(scratch, sealed(input));
}

}  // namespace shardora::fuzz
