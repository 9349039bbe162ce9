// JSON from outside: what is refused, and the accessors.
#include "runtime/formats/json.h"

#include <nlohmann/json.hpp>

#include "runtime/system/printable.h"
#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

// A literal taken as a span would bring its closing zero byte along.
ordered_json parse(const std::string& text, const std::string& name = "file.json", const JsonLimits& limits = {}) {
  return parse_json(text, name, limits);
}

void expect_json_refused(const std::string& text, const std::string& part, const JsonLimits& limits = {}) {
  SCOPED_TRACE(printable(text));
  expect_refused([&] { parse(text, "file.json", limits); }, ExitStatus::kBadInput, part);
  expect_refused([&] { parse(text, "file.json", limits); }, ExitStatus::kBadInput, "file.json");
}

TEST(Json, KeepsTheOrderOfKeysAndEveryKindOfValue) {
  const std::string text = R"({"b":[1,-2,3.5,true,false,null],"a":{"x":"\u00e9"},"c":[]})";
  EXPECT_EQ(parse(text).dump(), R"({"b":[1,-2,3.5,true,false,null],"a":{"x":"é"},"c":[]})");
  EXPECT_EQ(parse(" 7 "), ordered_json(7));
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "{a:1}",
                           "01",
                           "1e999",
                           "NaN",
                           "Infinity",
                           "'a'",
                           "1 2",
                           "{} x",
                           "// no\n1",
                           "\"\x01\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\xe2\x82\""}) {
    expect_json_refused(text, "not valid JSON");
  }
}

TEST(Json, RefusesDuplicateKeysHoweverTheyAreSpelled) {
  expect_json_refused(R"({"a":1,"b":2,"a":1})", "key 'a' occurs twice");
  expect_json_refused(R"({"a":1,"\u0061":1})", "key 'a' occurs twice");
  expect_json_refused(R"([{"x":{"":0,"":0}}])", "key '' occurs twice");
  EXPECT_NO_THROW(parse(R"({"a":{"a":1},"b":{"a":1}})"));
}

TEST(Json, RefusesZeroBytesAndAByteOrderMark) {
  expect_json_refused(std::string("{}\0", 3), "zero byte");
  expect_json_refused(std::string("{}\0{", 4), "zero byte");
  expect_json_refused("\xEF\xBB\xBF{}", "byte order mark");
}

TEST(Json, StopsAtEachLimit) {
  expect_json_refused("[[[]]]", "deeper than 2 levels", {.bytes = 100, .depth = 2, .values = 100});
  expect_json_refused("[1,2,3]", "more than 3 values", {.bytes = 100, .depth = 2, .values = 3});
  expect_json_refused("[1]    ", "7 bytes", {.bytes = 6, .depth = 2, .values = 3});
  EXPECT_NO_THROW(parse("[1,[]]", "file.json", {.bytes = 6, .depth = 2, .values = 3}));
}

TEST(Json, SurvivesDeepNestingAndManyKeys) {
  expect_json_refused(std::string(10'000'000, '['), "nested deeper");
  std::string many = "{";
  for (int i = 0; i < 200'000; ++i) many += fmt::format("\"{}\":0,", i);
  EXPECT_EQ(parse(many + "\"x\":1}").size(), 200'001u);
}

TEST(Json, MessagesAreOneLineWhateverTheNameHolds) {
  expect_refused([] { parse("{\"a\n\":1,\"a\n\":2}", "evil\n\x1b[31m.json"); }, ExitStatus::kBadInput,
                 "evil\\x0a\\x1b[31m.json");
  expect_refused([] { parse(R"({"a\n":1,"a\n":2})", "f"); }, ExitStatus::kBadInput, "key 'a\\x0a' occurs twice");
}

TEST(JsonFields, NameFileKeyValueAndWhatIsExpected) {
  const ordered_json object =
      parse(R"({"i":5,"f":2.5,"t":"x","b":true,"n":null,"neg":-0,"big":18446744073709551615})", "f");
  const JsonFields fields(object, "config.json");
  EXPECT_EQ(fields.integer("i", 5, 5), 5);
  EXPECT_EQ(fields.number("f", 2.5, 2.5), 2.5);
  EXPECT_EQ(fields.number("i", 0, 9), 5);
  EXPECT_EQ(fields.text("t"), "x");
  EXPECT_TRUE(fields.boolean("b"));
  EXPECT_EQ(fields.integer_or("none", 7, 0, 1), 7);
  EXPECT_EQ(fields.text_or("none", "d"), "d");
  EXPECT_TRUE(fields.is_null("n"));
  EXPECT_FALSE(fields.has("n"));
  EXPECT_FALSE(fields.is_null("none"));
  const auto refused = [](auto run, const std::string& part) { expect_refused(run, ExitStatus::kBadInput, part); };
  refused([&] { fields.integer("i", 6, 9); }, "config.json: i is 5, expected an integer from 6 to 9");
  refused([&] { fields.integer("i", 0, 4); }, "i is 5");
  refused([&] { fields.integer("f", 0, 9); }, "f is 2.5");
  refused([&] { fields.integer("n", 0, 9); }, "n is null");
  refused([&] { fields.integer("big", 0, 9); }, "big is 18446744073709551615");
  refused([&] { fields.integer("none", 0, 9); }, "none is missing");
  refused([&] { fields.integer_or("n", 3, 0, 9); }, "n is null");
  refused([&] { fields.number("t", 0, 9); }, "t is \"x\", expected a number");
  refused([&] { fields.number("f", 3, 9); }, "f is 2.5");
  refused([&] { fields.boolean("i"); }, "i is 5, expected true or false");
  refused([&] { fields.text("b"); }, "b is true, expected a string");
  refused([&] { JsonFields(ordered_json(1), "config.json"); }, "config.json: a JSON object is expected");
}

TEST(Printable, EscapesWhatATerminalObeysAndWhatIsNotUtf8) {
  EXPECT_EQ(printable("plain é 漢 🙂"), "plain é 漢 🙂");
  EXPECT_EQ(printable("a\nb\x1b\x7f"), "a\\x0ab\\x1b\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");                    // a control character above ASCII
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");           // turns the writing direction round
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");                    // not UTF-8
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // an overlong slash
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond Unicode
  EXPECT_LT(printable(std::string(100'000, 'x')).size(), 300u);
  EXPECT_EQ(printable(""), "");
}

}  // namespace
}  // namespace shardora
