// Target selection: PEFT's matching rules, and the errors where PEFT would quietly adapt less.
#include <chrono>

#include "runtime/formats/module_pattern.h"
#include "runtime/formats/peft_adapter.h"
#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

using testing::ElementsAre;
using testing::SizeIs;
using Names = std::vector<std::string>;

Names linear_modules(int layers = 3) {
  Names names;
  for (int i = 0; i < layers; ++i) {
    for (const char* leaf : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      names.push_back(fmt::format("model.layers.{}.{}", i, leaf));
    }
  }
  return names;
}

PeftConfig targeting(const Names& names) { return {.target_modules = names}; }
PeftConfig matching(const std::string& pattern) { return {.target_pattern = pattern}; }

Names selected(const PeftConfig& config, int layers = 3) {
  Names names;
  for (const TargetModule& target : select_targets(config, linear_modules(layers))) names.push_back(target.name);
  return names;
}

void expect_targets_refused(const PeftConfig& config, const std::string& part) {
  expect_refused([&] { select_targets(config, linear_modules()); }, ExitStatus::kUsage, part);
}

TEST(SelectTargets, AListMatchesNamesOrTheirEndsAfterADot) {
  EXPECT_THAT(selected(targeting({"q_proj"})),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
                          "model.layers.2.self_attn.q_proj"));
  EXPECT_THAT(selected(targeting({"model.layers.1.mlp.up_proj", "1.self_attn.v_proj"})),
              ElementsAre("model.layers.1.self_attn.v_proj", "model.layers.1.mlp.up_proj"));
  EXPECT_THAT(selected(targeting({"layers.1.mlp.up_proj"}), 12), SizeIs(1));  // not layer 11
  expect_targets_refused(targeting({"proj"}), "'proj' matches no linear module");
  expect_targets_refused(targeting({"q_proj", "query"}), "'query' matches no linear module");
  expect_targets_refused(targeting({"self_attn"}), "'self_attn' matches no linear module");
  expect_targets_refused(targeting({".*proj"}), "matches no linear module");
}

TEST(SelectTargets, AllLinearIsEveryLinearModuleButTheHead) {
  EXPECT_EQ(selected(matching("all-linear")), linear_modules());
  EXPECT_EQ(selected(matching("All-Linear")), linear_modules());
  Names with_head = linear_modules();
  with_head.push_back("lm_head");
  EXPECT_THAT(select_targets(matching("all-linear"), with_head), SizeIs(21));
}

TEST(SelectTargets, APatternMatchesTheWholeName) {
  EXPECT_THAT(selected(matching(R"(.*\.(q|v)_proj)")), SizeIs(6));
  EXPECT_THAT(selected(matching(R"(model\.layers\.[02]\.mlp\..*_proj)")), SizeIs(6));
  EXPECT_THAT(selected(matching(R"(.*\.layers\.\d+\.(?!mlp).*_proj)")), SizeIs(12));
  EXPECT_THAT(
      selected(matching(R"((?:.*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.x))")),
      SizeIs(6));
  expect_targets_refused(matching("q_proj"), "nothing is left to adapt");
  expect_targets_refused(matching(R"(.*q_pro)"), "nothing is left to adapt");
}

TEST(SelectTargets, TheHeadTheEmbeddingsAndContainersAreNoTargets) {
  expect_targets_refused(targeting({"q_proj", "lm_head"}), "the output head 'lm_head'");
  expect_targets_refused(targeting({"model.lm_head"}), "the output head");
  expect_targets_refused(targeting({"embed_tokens"}), "'embed_tokens' matches no linear module");
  expect_targets_refused(matching(".*"), "'.*' also matches lm_head");
  expect_targets_refused(matching(R"(model\..*)"), "also matches model.embed_tokens");
  expect_targets_refused(matching(R"(.*mlp.*)"), "also matches model.layers.0.mlp,");
}

TEST(SelectTargets, ExclusionBeatsTargets) {
  PeftConfig config = matching("all-linear");
  config.exclude_modules = {"down_proj", "model.layers.0.self_attn.q_proj", "lm_head"};
  EXPECT_THAT(selected(config), SizeIs(21 - 3 - 1));
  config = targeting({"q_proj", "v_proj"});
  config.exclude_pattern = R"(.*\.[12]\..*)";
  EXPECT_THAT(selected(config), ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"));
  config.exclude_pattern = "q_proj";  // the whole name: excludes nothing
  EXPECT_THAT(selected(config), SizeIs(6));
  config.exclude_pattern = ".*";
  expect_targets_refused(config, "nothing is left to adapt");
}

TEST(SelectTargets, LayersAreTheFirstNumberInTheName) {
  PeftConfig config = targeting({"q_proj"});
  config.layers_to_transform = {1, 11};
  EXPECT_THAT(selected(config, 12), ElementsAre("model.layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj"));
  config.layers_to_transform = {1, 3};
  expect_targets_refused(config, "has no layer 3");
  config = matching("all-linear");
  config.layers_to_transform = {2};
  EXPECT_THAT(selected(config), SizeIs(7));
  config = matching(".*q_proj");
  config.layers_to_transform = {2};
  expect_targets_refused(config, "cannot be used with the pattern");
  config = targeting({"x"});
  config.layers_to_transform = {5};
  const Names odd = {"a.layers.5.experts.1.x", "a.layers.1.experts.5.x", "layers.5.x", "a.layers.5x.x", "a.layers.x"};
  const auto targets = select_targets(config, odd);
  ASSERT_THAT(targets, SizeIs(1));
  EXPECT_EQ(targets[0].name, "a.layers.5.experts.1.x");
}

TEST(SelectTargets, TheFirstPatternThatMatchesGivesRankAndAlpha) {
  PeftConfig config = targeting({"q_proj", "v_proj"});
  config.rank = 8;
  config.alpha = 16;
  config.rank_pattern = {{"model.layers.1.self_attn.q_proj", 3}, {"q_proj", 4}, {R"(layers\.[12]\.self_attn\..*)", 5}};
  config.alpha_pattern = {{"^model.layers.0.*", 1.5}, {"v_proj$", 2}};
  const auto targets = select_targets(config, linear_modules());
  std::vector<std::int64_t> ranks;
  std::vector<double> alphas;
  for (const TargetModule& target : targets) {
    ranks.push_back(target.rank);
    alphas.push_back(target.alpha);
  }
  EXPECT_THAT(ranks, ElementsAre(4, 8, 3, 5, 4, 5));
  EXPECT_THAT(alphas, ElementsAre(1.5, 1.5, 16, 2, 16, 2));
  config.rank_pattern = {{"q_pro", 4}};  // neither a whole name nor its end after a dot
  expect_targets_refused(config, "rank_pattern: 'q_pro' matches no linear module");
}

TEST(SelectTargets, NeedsEitherAListOrAPattern) {
  expect_targets_refused({}, "either a list of names or one pattern");
  PeftConfig both = targeting({"q_proj"});
  both.target_pattern = "all-linear";
  expect_targets_refused(both, "either a list of names or one pattern");
}

TEST(ModulePattern, RefusesWhatPythonReadsDifferently) {
  for (const char* pattern :
       {"",         "(",     ")",       "[",    "a)|(b",  "a**",      "a++",  "a{2}{3}", "*a",
        "(?P<x>a)", "(?i)a", "(?<=a)b", "\\1",  "(a)\\1", "\\Aa",     "a\\Z", "\\x41",   "[[:alpha:]]",
        "[]a]",     "[^]a]", "a{,3}",   "a{x}", "a\\",    "\xc3\xa9", "a\n",  "[b-a]"}) {
    SCOPED_TRACE(pattern);
    expect_refused([&] { ModulePattern(pattern, ModulePattern::Match::kSuffix, "x", ExitStatus::kUsage); },
                   ExitStatus::kUsage, "is no regular expression that can be used here");
  }
  expect_targets_refused(matching(std::string(2001, 'a')), "1 to 2000 characters");
}

TEST(ModulePattern, HostilePatternsTakeNoTime) {
  const auto start = std::chrono::steady_clock::now();
  const std::string name = std::string(400, 'a') + "!";
  for (const char* text : {"(a+)+b", "(a|a)*b", "(.*.*.*.*.*)*b", "(a?){10}(a){10}b", "((a*)*)*b", "(?=(a+)+b).*b"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(ModulePattern(text, ModulePattern::Match::kSuffix, "x", ExitStatus::kUsage).matches(name));
  }
  expect_targets_refused(matching("((a{10}){10}){10}"), "repetition counts are too large");
  expect_targets_refused(matching("a{99999999999999999999}"), "repetition counts are too large");
  expect_targets_refused(matching(std::string(1000, '(') + "a" + std::string(999, ')')), "target_modules");
  EXPECT_FALSE(
      ModulePattern("(x|y)*", ModulePattern::Match::kFull, "x", ExitStatus::kUsage).matches(std::string(100'000, 'x')));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace shardora
