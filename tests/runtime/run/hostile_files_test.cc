// Files of a run that say something else than they should: what the fuzz targets have found, each as a test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/run/checkpoints.h"
#include "runtime/run/counters.h"
#include "runtime/run/run_identity.h"
#include "runtime/run/run_lock.h"
#include "runtime/system/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

// A lock's content with another value for one of its keys.
std::string lock_with(const std::string& key, const std::string& value) {
  std::string text;
  for (const auto& [name, usual] : std::map<std::string, std::string>{{"host", "\"n1\""},
                                                                      {"process", "12"},
                                                                      {"process_start", "345"},
                                                                      {"boot_id", "\"b\""},
                                                                      {"job", "\"none\""},
                                                                      {"restart_count", "0"},
                                                                      {"started", "1760000000"}}) {
    text += (text.empty() ? "{\"" : ",\"") + name + "\":" + (name == key ? value : usual);
  }
  return text + "}";
}

TEST(HostileLock, SaysNothingWhereItSaysSomethingElse) {
  EXPECT_TRUE(parse_holder(lock_with("", "")));
  EXPECT_EQ(parse_holder(lock_with("process", "7"))->process, 7);
  for (const char* value : {"1e300", "1.5", "18446744073709551615", "-1", "\"12\"", "null"}) {
    EXPECT_FALSE(parse_holder(lock_with("process", value))) << value;
  }
  for (const char* text : {"", "{", "[]", "{}", "{\"host\":1}"}) EXPECT_FALSE(parse_holder(text)) << text;
}

// fmt throws where a year has five digits.
TEST(HostileLock, OfATimeThatCannotBeToldSaysNothing) {
  EXPECT_FALSE(parse_holder(lock_with("started", "4611686018427387904")));
  EXPECT_FALSE(parse_holder(lock_with("started", "253402300800")));
  const auto last = parse_holder(lock_with("started", "253402300799"));
  ASSERT_TRUE(last);
  EXPECT_THAT(describe(*last), testing::HasSubstr("9999-12-31 23:59:59"));
}

TEST(HostileLock, CannotObeyATerminal) {
  const auto holder = parse_holder(lock_with("host", "\"\\u001b[2J\\n\""));
  ASSERT_TRUE(holder);
  EXPECT_THAT(describe(*holder), testing::HasSubstr("\\x1b[2J\\x0a"));
}

TEST(HostileManifest, IsRefusedByKey) {
  const TemporaryFolder folder;
  const ManifestFile whole{.manifest = {.step = 3, .world = "1 rank", .threads = 1, .instruction_set = "x"},
                           .files = {{"a", {7, "00"}}}};
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& key) {
    std::string body = render_manifest(whole);
    body.resize(body.rfind(",\n  \"checksum\""));
    body.replace(body.find(from), from.size(), to);
    // Sealed anew: its own checksum is right.
    const std::string seal = hex(checksum(std::as_bytes(std::span(body))));
    put_text(folder / "manifest.json", body + ",\n  \"checksum\": \"" + seal + "\"\n}\n");
    expect_error(ExitStatus::kBadInput, {"manifest.json", key}, [&] { read_manifest(folder / "manifest.json"); });
  };
  refused("\"step\": 3", "\"step\": 1e300", "step");
  refused("\"step\": 3", "\"step\": -3", "step");
  refused("\"step\": 3", "\"step\": \"3\"", "step");
  refused("\"bytes\": 7", "\"bytes\": 1.5", "bytes");
  refused("\"configuration\"", "\"other\"", "configuration");
  refused("\"files\"", "\"other\"", "files");
}

TEST(HostileManifest, ConfigurationOfOtherTypesIsRefused) {
  const RunIdentity now = {{"train.seed", "1"}};
  EXPECT_NO_THROW(require_same_run(R"({"train.seed":"1"})", now, "step-3"));
  for (const char* saved : {R"({"train.seed":1})", "[1]", "\"x\"", "", "1"}) {
    expect_error(ExitStatus::kBadInput, {"step-3"}, [&] { require_same_run(saved, now, "step-3"); });
  }
}

TEST(HostileCounters, AreRefusedByName) {
  const Counters counters{.step = 3, .tokens = 99, .best_loss = 0.1, .best_step = 2, .evaluations_without_gain = 1};
  const auto metadata = to_metadata(counters);
  EXPECT_EQ(to_metadata(read_counters(metadata, "state")), metadata);
  const auto refused = [&](const std::string& key, const std::string& value) {
    auto changed = metadata;
    changed[key] = value;
    expect_error(ExitStatus::kBadInput, {"state", key}, [&] { read_counters(changed, "state"); });
  };
  for (const char* value : {"", "x", "-1", "1e3", " 1", "1 ", "99999999999999999999"}) refused("step", value);
  for (const char* value : {"", "x", "1.5x"}) refused("best_loss", value);
  auto fewer = metadata;
  fewer.erase("tokens");
  expect_error(ExitStatus::kBadInput, {"state", "tokens"}, [&] { read_counters(fewer, "state"); });
}

}  // namespace
}  // namespace shardora
