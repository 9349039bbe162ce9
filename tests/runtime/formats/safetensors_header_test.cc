// Hostile headers: each is refused for its own reason, and its harmless twin is accepted.
#include <nlohmann/json.hpp>

#include "runtime/formats/safetensors.h"
#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

struct Hostile {
  const char* header;
  std::int64_t data_bytes;
  const char* part;  // of the message
};

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"t\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

void expect_header_refused(const std::string& header, std::int64_t data_bytes, const std::string& part) {
  SCOPED_TRACE(header.substr(0, 200));
  expect_refused([&] { parse_safetensors_header(header, data_bytes, "m.safetensors"); }, ExitStatus::kBadInput, part);
}

TEST(SafetensorsHeader, ReadsTensorsAndMetadata) {
  const SafetensorsHeader header = parse_safetensors_header(
      std::string(R"({"__metadata__":{"format":"pt","":"x"},"b":{"data_offsets":[0,12],"shape":[3],"dtype":"F32"},)"
                  R"("a":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}   )"),
      20, "m.safetensors");
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"", "x"}}));
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors.at("a").begin, 12);
  EXPECT_EQ(header.tensors.at("a").end, 20);
  EXPECT_TRUE(header.tensors.at("a").shape.empty());
  EXPECT_EQ(header.tensors.at("b").dtype, "F32");
  EXPECT_EQ(header.tensors.at("b").shape, std::vector<std::int64_t>{3});
  EXPECT_TRUE(parse_safetensors_header(std::string("{}"), 0, "m").tensors.empty());
}

TEST(SafetensorsHeader, KnowsEveryTypeOfTheFormat) {
  const std::map<std::string, int> bytes = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                            {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                                            {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  for (const auto& [dtype, size] : bytes) {
    const std::string header = one(dtype, "[3]", fmt::format("[0,{}]", 3 * size));
    EXPECT_NO_THROW(parse_safetensors_header(header, 3 * size, "m")) << dtype;
    expect_header_refused(one(dtype, "[3]", fmt::format("[0,{}]", 3 * size + 1)), 3 * size + 1, "take");
  }
  for (const char* dtype : {"F33", "f32", "", "F32 ", "float32"}) {
    expect_header_refused(one(dtype, "[3]", "[0,12]"), 12, "unknown dtype");
  }
}

TEST(SafetensorsHeader, RefusesWhatTheReferenceRefuses) {
  const Hostile cases[] = {
      {"", 0, "does not start with"},
      {" {}", 0, "does not start with"},
      {"[]", 0, "does not start with"},
      {"{", 0, "not valid JSON"},
      {"{}x", 0, "not valid JSON"},
      {"{\"\xff\":1}", 0, "not valid JSON"},
      {R"({"t":1})", 0, "is not an object"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", 4, "is not an object of"},
      {R"({"t":{"dtype":"F32","shape":[1],"offsets":[0,4]}})", 4, "has no data_offsets"},
      {R"({"t":{"dtype":"F32","sizes":[1],"data_offsets":[0,4]}})", 4, "has no shape"},
      {R"({"t":{"type":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "has no dtype"},
      {R"({"t":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype 7"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "is not an object of"},
      {R"({"t":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", 4, "no list of at most 8"},
      {R"({"t":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4, "no list of at most 8"},
      {R"({"t":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "has 1.0 in its shape"},
      {R"({"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "has -1 in its shape"},
      {R"({"t":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}})", 0, "in its shape"},
      {R"({"t":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4, "in its shape"},
      {R"({"t":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "deeper than 3"},
      {R"({"t":{"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]}})", 4, "in its shape"},
      {R"({"t":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4, "in its shape"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}})", 4, "has 4.0 in its data_offsets"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4, "in its data_offsets"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "no pair"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "no pair"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":{"a":0,"b":4}}})", 4, "no pair"},
      {R"({"t":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}})", 4, "lies at bytes 4 to 0"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "take 8 bytes"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 8, "take 4 bytes"},
      {R"({"__metadata__":[],"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "not an object"},
      {R"({"__metadata__":null})", 0, "not an object"},
      {R"({"__metadata__":{"a":1}})", 0, "'a' in __metadata__ is not a string"},
      {R"({"__metadata__":{"a":null}})", 0, "not a string"},
  };
  for (const Hostile& hostile : cases) expect_header_refused(hostile.header, hostile.data_bytes, hostile.part);
  expect_header_refused(std::string("{}\0", 3), 0, "zero byte");
}

TEST(SafetensorsHeader, RefusesProductsThatOverflowEvenBesideAZero) {
  expect_header_refused(one("F32", "[4294967296,4294967296]", "[0,0]"), 0, "2^63");
  expect_header_refused(one("F32", "[4611686018427387904]", "[0,0]"), 0, "2^63");  // elements fit, bytes do not
  expect_header_refused(one("U8", "[0,9223372036854775807,2]", "[0,0]"), 0, "2^63");
  expect_header_refused(one("U8", "[9223372036854775807,2,0]", "[0,0]"), 0, "2^63");
  EXPECT_NO_THROW(parse_safetensors_header(one("U8", "[9223372036854775807,0]", "[0,0]"), 0, "m"));
}

TEST(SafetensorsHeader, RefusesOverlapsHolesAndWrongEnds) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_NO_THROW(parse_safetensors_header(two("[0,4]", "[4,8]"), 8, "m"));
  EXPECT_NO_THROW(parse_safetensors_header(two("[4,8]", "[0,4]"), 8, "m"));
  expect_header_refused(two("[0,4]", "[0,4]"), 4, "starts at byte 0, expected 4");
  expect_header_refused(two("[0,4]", "[3,7]"), 7, "starts at byte 3, expected 4");
  expect_header_refused(two("[0,4]", "[5,9]"), 9, "starts at byte 5, expected 4");
  expect_header_refused(two("[1,5]", "[5,9]"), 9, "starts at byte 1, expected 0");
  expect_header_refused(two("[0,4]", "[4,8]"), 9, "take 8 bytes, but 9 follow");
  expect_header_refused(two("[0,4]", "[4,8]"), 7, "take 8 bytes, but 7 follow");
  expect_header_refused("{}", 1, "take 0 bytes, but 1 follow");
}

TEST(SafetensorsHeader, EmptyTensorsLieAnywhereBetweenOthers) {
  const std::string header = R"({"z":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]},)"
                             R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                             R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("e":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}})";
  EXPECT_EQ(parse_safetensors_header(header, 8, "m").tensors.size(), 4u);
}

TEST(SafetensorsHeader, RefusesTheSameNameTwice) {
  expect_header_refused(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                        R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                        0, "'t' occurs twice");
  expect_header_refused(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0,
                        "'dtype' occurs twice");
  expect_header_refused(R"({"__metadata__":{"a":"1","a":"2"}})", 0, "'a' occurs twice");
}

TEST(SafetensorsHeader, NamesFromTheFileAreEscapedInMessages) {
  expect_header_refused(R"({"a\u001b[2J\n":{"dtype":"U9","shape":[0],"data_offsets":[0,0]}})", 0, "a\\x1b[2J\\x0a");
}

}  // namespace
}  // namespace shardora
