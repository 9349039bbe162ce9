// From words to options: each key reaches its field, sources win in order, wrong input is refused in words that help,
// and the resolved configuration gives the same options again.
#include "launch/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "kernels/check.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using Words = std::vector<std::string>;

Words training(const Words& more) {
  Words words = {"train", "--model.path=m", "--data.train=d", "--output.dir=o"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words ten_steps(const Words& more) {
  Words words = training({"--train.steps=10"});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string refusal(const Words& words) {
  try {
    parse_invocation(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUsage);
    return error.what();
  }
  return "(accepted)";
}

// A file that lives as long as the test.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / ("shardora_options_test_" + std::to_string(getpid()) + ".cfg")) {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  std::string flag() const { return "--config=" + path_.string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

OptionKey key_of(RunOptions& options, const std::string& name) {
  const std::vector<OptionKey> table = option_table(options);
  return *std::find_if(table.begin(), table.end(), [&](const OptionKey& key) { return key.name == name; });
}

// Another value than the default for every key, as it is printed.
const std::map<std::string, std::string> kSamples = {
    {"model.path", "some/model"},
    {"model.dtype", "float32"},
    {"model.init", "random"},
    {"model.weight_layouts", "one"},
    {"adapter.method", "lora"},
    {"adapter.rank", "7"},
    {"adapter.alpha", "12.5"},
    {"adapter.rslora", "true"},
    {"adapter.dropout", "0.25"},
    {"adapter.dropout_scope", "adapter"},
    {"adapter.target_modules", "q_proj, v_proj"},
    {"adapter.exclude_modules", "lm_head"},
    {"adapter.layers", "0, 1, 2, 12"},
    {"adapter.rank_pattern", "layers\\.[0-9]{1,2}\\.q_proj:4, (?:k|v)_proj:16"},
    {"adapter.alpha_pattern", "q_proj:0.5"},
    {"adapter.magnitude_axis", "input"},
    {"adapter.norm_gradient", "exact"},
    {"adapter.path", "some/adapter"},
    {"data.train", "a.safetensors:2, b.safetensors:0.5"},
    {"data.eval", "old=a.safetensors, new=b.safetensors"},
    {"data.sequence_length", "2048"},
    {"data.overlong", "drop"},
    {"data.shuffle", "false"},
    {"data.packing", "false"},
    {"train.steps", "17"},
    {"train.epochs", "1.5"},
    {"train.global_batch", "127"},
    {"train.micro_batch_tokens", "512"},
    {"train.recompute", "selective"},
    {"train.eval_every", "9"},
    {"train.save_best", "true"},
    {"train.early_stopping", "3"},
    {"train.stop_at", "1700000000.5"},
    {"train.skip_nonfinite", "3"},
    {"train.check_every", "7"},
    {"train.seed", "18446744073709551615"},
    {"train.deterministic", "true"},
    {"train.profile_ranges", "true"},
    {"train.learning_rate", "0.001"},
    {"train.magnitude_learning_rate", "0.003"},
    {"train.b_learning_rate_ratio", "16"},
    {"train.warmup_steps", "0.03"},
    {"train.schedule", "linear"},
    {"train.min_learning_rate", "1e-05"},
    {"train.weight_decay", "0.01"},
    {"train.beta1", "0.8"},
    {"train.beta2", "0.95"},
    {"train.epsilon", "1e-06"},
    {"train.clip_norm", "0.5"},
    {"parallel.tensor", "2"},
    {"parallel.backend", "cpu"},
    {"parallel.communicator", "host"},
    {"parallel.attention", "own"},
    {"parallel.share_devices", "true"},
    {"parallel.threads", "3"},
    {"parallel.bind", "keep"},
    {"parallel.timeout_seconds", "7.5"},
    {"parallel.init_timeout_seconds", "8.5"},
    {"parallel.check_collectives", "true"},
    {"parallel.instruction_set", "x86-64-v3"},
    {"output.dir", "some/run"},
    {"output.log_every", "5"},
    {"output.checkpoint_every", "100"},
    {"output.keep", "4"},
    {"output.resume", "never"},
    {"output.overwrite", "true"},
    {"output.background_save", "true"},
    {"merge.dtype", "bfloat16"},
    {"merge.verify", "true"},
    {"eval.choices", "arc=a.safetensors, obqa=o.safetensors"},
    {"eval.scores", "scores.jsonl"},
    {"generate.prompts", "p.safetensors"},
    {"generate.max_new_tokens", "33"},
    {"generate.temperature", "0.7"},
    {"generate.top_k", "40"},
    {"generate.top_p", "0.9"},
    {"generate.beams", "4"},
    {"generate.seed", "9"},
    {"generate.batch_tokens", "100"},
    {"generate.stop_tokens", "2, 151643"},
    {"plan.shape", "8B"},
    {"plan.device", "h100"},
    {"plan.devices", "64"},
    {"plan.device_memory", "40"},
    {"plan.tokens", "1000000"},
    {"plan.calibration", ""},  // gone: it may only be empty
    {"analyze.tuned", "some/model"},
    {"analyze.checkpoints", "some/run"},
    {"analyze.csv", "some/table.csv"},
    {"doctor.timeout_seconds", "25"},
    {"plan.shape", "8B"},
    {"plan.device", "h200"},
    {"plan.devices", "16"},
    {"plan.device_memory", "40"},
    {"plan.tokens", "1000000000"},
};

TEST(OptionTable, EveryKeySetsItsOwnFieldAndNoOther) {
  RunOptions defaults;
  const std::vector<OptionKey> unset = option_table(defaults);
  for (std::size_t i = 0; i < unset.size(); ++i) {
    RunOptions options;
    const std::vector<OptionKey> table = option_table(options);
    ASSERT_TRUE(kSamples.contains(table[i].name)) << table[i].name << " has no sample here";
    const std::string& sample = kSamples.at(table[i].name);
    EXPECT_TRUE(table[i].value.store(sample)) << table[i].name;
    EXPECT_EQ(table[i].value.print(), sample) << table[i].name;
    EXPECT_TRUE(sample.empty() || sample != unset[i].value.print())
        << table[i].name << ": the sample must differ from the default";
    for (std::size_t other = 0; other < unset.size(); ++other) {
      if (other == i) continue;
      EXPECT_EQ(table[other].value.print(), unset[other].value.print()) << table[i].name;
    }
  }
  EXPECT_EQ(kSamples.size(), unset.size());
}

TEST(OptionTable, EveryDefaultIsAValueThatTheKeyAccepts) {
  RunOptions options;
  for (const OptionKey& option : option_table(options)) {
    EXPECT_TRUE(option.value.store(option.value.print())) << option.name;
  }
  EXPECT_EQ(resolved_config(options), resolved_config(RunOptions{}));
}

TEST(OptionTable, SectionsStandTogetherSoThatAPrintedFileNamesEachOnce) {
  const std::string text = resolved_config(RunOptions{});
  for (const char* section :
       {"[model]", "[adapter]", "[data]", "[train]", "[parallel]", "[output]", "[merge]", "[generate]"}) {
    EXPECT_NE(text.find(section), std::string::npos) << section;
    EXPECT_EQ(text.find(section), text.rfind(section)) << section;
  }
}

TEST(ParseInvocation, TakesBothFormsOfAFlag) {
  EXPECT_EQ(parse_invocation(ten_steps({"--adapter.rank=4"})).options.adapter.rank, 4);
  EXPECT_EQ(parse_invocation(ten_steps({"--adapter.rank", "5"})).options.adapter.rank, 5);
}

TEST(ParseInvocation, TheCommandLineWinsOverTheEnvironmentWhichWinsOverTheFile) {
  const ConfigFile file("[adapter]\nrank = 3  # a remark\nalpha = 3\n[train]\nbeta1 = 0.3\n");
  const Variable rank("SHARDORA_ADAPTER_RANK", "2"), alpha("SHARDORA_ADAPTER_ALPHA", "2");
  const RunOptions options = parse_invocation(ten_steps({file.flag(), "--adapter.rank=1"})).options;
  EXPECT_EQ(options.adapter.rank, 1);
  EXPECT_EQ(options.adapter.alpha, 2);
  EXPECT_EQ(options.train.beta1, 0.3);
  EXPECT_EQ(options.train.beta2, 0.999);
}

TEST(ParseInvocation, AValueThatAStrongerSourceReplacesIsNotLookedAtButItsKeyIs) {
  const ConfigFile file("[adapter]\nrank = none\n");
  EXPECT_EQ(parse_invocation(ten_steps({file.flag(), "--adapter.rank=1"})).options.adapter.rank, 1);
  const ConfigFile twice("[adapter]\nrank = 3\nrank = 3\n");
  EXPECT_THAT(refusal(ten_steps({twice.flag(), "--adapter.rank=1"})), HasSubstr("adapter.rank is given twice in"));
}

TEST(ParseInvocation, ALengthOnTheCommandLineReplacesTheFilesOther) {
  const ConfigFile file("[train]\nepochs = 3\n");
  const RunOptions options = parse_invocation(training({file.flag(), "--train.steps=10"})).options;
  EXPECT_EQ(options.train.steps, 10);
  EXPECT_EQ(options.train.epochs, 0);
  EXPECT_EQ(parse_invocation(training({file.flag(), "--train.steps=0"})).options.train.epochs, 3);
  const Variable steps("SHARDORA_TRAIN_STEPS", "20");
  EXPECT_EQ(parse_invocation(training({file.flag()})).options.train.steps, 20);
  EXPECT_EQ(parse_invocation(training({"--train.epochs=2"})).options.train.epochs, 2);
}

TEST(ParseInvocation, AFileMaySayMoreThanTheCommandUses) {
  const ConfigFile file("[model]\npath = m\n[data]\neval = d\n[train]\nsteps = 5\n[output]\ndir = o\n");
  EXPECT_EQ(parse_invocation({"eval", file.flag()}).options.model.path, "m");
}

TEST(ParseInvocation, ReadsListsPatternsAndSources) {
  const RunOptions options =
      parse_invocation(ten_steps({"--adapter.layers= 4-6, 1,5 ", "--adapter.target_modules=q_proj , o_proj",
                                  "--adapter.rank_pattern=^a{1,2}$:4,(?:b|c):8", "--data.eval=x=1.st, y=2.st"}))
          .options;
  EXPECT_THAT(options.adapter.layers, ElementsAre(1, 4, 5, 6));
  EXPECT_THAT(options.adapter.target_modules, ElementsAre("q_proj", "o_proj"));
  EXPECT_THAT(options.adapter.rank_pattern, ElementsAre(Pair("^a{1,2}$", 4), Pair("(?:b|c)", 8)));
  ASSERT_EQ(options.data.eval.size(), 2u);
  EXPECT_EQ(options.data.eval[1].name, "y");
  EXPECT_EQ(options.data.eval[1].path, "2.st");
  ASSERT_EQ(options.data.train.size(), 1u);
  EXPECT_EQ(options.data.train[0].path, "d");
  EXPECT_EQ(options.data.train[0].share, 1);
}

TEST(ParseInvocation, AColonOrEqualsSignOfThePathsOwnIsLeftThere) {
  const RunOptions options = parse_invocation(ten_steps({"--data.eval=runs/lr=1/d.st"})).options;
  EXPECT_EQ(options.data.eval[0].path, "runs/lr=1/d.st");
  RunOptions other;
  EXPECT_TRUE(key_of(other, "data.train").value.store("c:/d.st"));
  EXPECT_EQ(key_of(other, "data.train").value.print(), "c:/d.st");
  EXPECT_EQ(other.data.train[0].path, "c:/d.st");
  EXPECT_TRUE(key_of(other, "data.train").value.store("d.st:2:1"));  // a file d.st:2
  EXPECT_EQ(other.data.train[0].path, "d.st:2");
  EXPECT_EQ(key_of(other, "data.train").value.print(), "d.st:2:1");
}

TEST(ParseInvocation, RefusesValuesByNamingKeyValuePlaceAndWhatWasExpected) {
  EXPECT_THAT(refusal(ten_steps({"--adapter.rank=0"})),
              AllOf(HasSubstr("adapter.rank = '0'"), HasSubstr("on the command line"),
                    HasSubstr("expected a whole number from 1 to 65536")));
  EXPECT_THAT(refusal(ten_steps({"--adapter.dropout=1"})), HasSubstr("a number from 0, below 1"));
  EXPECT_THAT(refusal(ten_steps({"--adapter.method=dara"})), HasSubstr("one of dora, lora, full"));
  const Variable rank("SHARDORA_ADAPTER_RANK", "x");
  EXPECT_THAT(refusal(ten_steps({})), HasSubstr("adapter.rank = 'x' in the environment"));
  const ConfigFile file("[adapter]\nrank = -1\n");
  unsetenv("SHARDORA_ADAPTER_RANK");
  EXPECT_THAT(refusal(ten_steps({file.flag()})), HasSubstr("adapter.rank = '-1' in " + file.path()));
}

TEST(ParseInvocation, RefusesWhatIsNotAWholeValue) {
  const std::pair<const char*, const char*> wrong[] = {{"adapter.rank", "4x"},
                                                       {"adapter.rank", "4.0"},
                                                       {"adapter.rank", "99999999999999999999"},
                                                       {"adapter.rank", "65537"},
                                                       {"adapter.alpha", "nan"},
                                                       {"adapter.alpha", "inf"},
                                                       {"adapter.alpha", "0"},
                                                       {"train.learning_rate", "1e-4e"},
                                                       {"train.seed", "-1"},
                                                       {"adapter.rslora", "yes"},
                                                       {"adapter.layers", "3-1"},
                                                       {"adapter.layers", "1,,2"},
                                                       {"adapter.layers", "-1"},
                                                       {"adapter.rank_pattern", "a"},
                                                       {"adapter.rank_pattern", "a:0"},
                                                       {"adapter.rank_pattern", ":4"},
                                                       {"data.train", "a:0"},
                                                       {"data.train", "a:-1"},
                                                       {"data.train", ":1"},
                                                       {"data.train", "a,"},
                                                       {"data.eval", "a.st,b.st"},
                                                       {"data.eval", "x=a.st,x=b.st"},
                                                       {"data.eval", "x="},
                                                       {"output.checkpoint_every", "often"},
                                                       {"output.checkpoint_every", "-1"},
                                                       {"output.keep", "1"},
                                                       {"parallel.tensor", "0"},
                                                       {"parallel.communicator", "mpi"},
                                                       {"parallel.attention", "flash"},
                                                       {"train.beta1", "1"}};
  for (const auto& [key, value] : wrong) {
    const std::string told = refusal({"train", fmt::format("--{}={}", key, value)});
    EXPECT_THAT(told, AllOf(HasSubstr(fmt::format("{} = '{}'", key, value)), HasSubstr("expected")));
  }
}

TEST(ParseInvocation, RefusesUnknownKeysEverywhereAndSuggestsTheNearest) {
  EXPECT_THAT(refusal(ten_steps({"--adapter.rnk=4"})),
              AllOf(HasSubstr("unknown key 'adapter.rnk' on the command line"), HasSubstr("'adapter.rank'")));
  EXPECT_THAT(refusal(ten_steps({"--adapter.rnk", "4"})), HasSubstr("unknown key 'adapter.rnk' on the command line"));
  EXPECT_THAT(refusal(ten_steps({"--rank=4"})), HasSubstr("did you mean 'adapter.rank'"));
  EXPECT_THAT(refusal(ten_steps({"--train.tensor=4"})), HasSubstr("did you mean 'parallel.tensor'"));
  const ConfigFile file("[train]\nlearning_rat = 1\n");
  EXPECT_THAT(refusal(ten_steps({file.flag()})),
              AllOf(HasSubstr("'train.learning_rat' in " + file.path()), HasSubstr("'train.learning_rate'")));
  const Variable seed("SHARDORA_TRAIN_SEDE", "1");
  EXPECT_THAT(refusal(ten_steps({})), AllOf(HasSubstr("SHARDORA_TRAIN_SEDE"), HasSubstr("'train.seed'")));
}

TEST(ParseInvocation, SuggestsOnlyKeysThatTheCommandTakes) {
  EXPECT_THAT(refusal({"analyze", "--adapter.pth=a"}),
              AllOf(HasSubstr("did you mean 'adapter.path'?"), HasSubstr("shardora analyze --help")));
  // train has merge's overwrite, analyze has no key like it
  EXPECT_THAT(refusal({"merge", "--output.overwrit=true"}), HasSubstr("did you mean 'output.overwrite'?"));
  EXPECT_THAT(refusal({"analyze", "--output.overwrit=true"}),
              AllOf(Not(HasSubstr("did you mean")), HasSubstr("'output.overwrite' is a key of train, merge only")));
  EXPECT_THAT(refusal({"eval", "--rank=4"}),
              AllOf(Not(HasSubstr("did you mean")), HasSubstr("'adapter.rank' is a key of train, plan only")));
  // plan and doctor take a run's whole command line
  EXPECT_THAT(refusal({"plan", "--train.learning_rat=1"}), HasSubstr("did you mean 'train.learning_rate'?"));
  // a file serves several commands
  const ConfigFile file("[train]\nlearning_rat = 1\n");
  EXPECT_THAT(refusal({"eval", "--model.path=m", "--data.eval=d", file.flag()}),
              HasSubstr("did you mean 'train.learning_rate'?"));
}

TEST(ParseInvocation, SuggestsNothingWhereNoKeyIsAlike) {
  EXPECT_THAT(refusal(ten_steps({"--quantization=4"})),
              HasSubstr("unknown key 'quantization' on the command line; shardora train --help lists all"));
}

TEST(ParseInvocation, AShortenedKeyIsUnknown) {
  EXPECT_THAT(refusal(ten_steps({"--adapter.ran=4"})), HasSubstr("unknown key 'adapter.ran'"));
}

TEST(ParseInvocation, VariablesOfOthersAreLeftAlone) {
  const Variable other("SHARDORA_IMAGE", "x");
  EXPECT_EQ(refusal(ten_steps({})), "(accepted)");
}

TEST(ParseInvocation, RefusesAKeyThatTheCommandDoesNotUseOnItsCommandLine) {
  EXPECT_THAT(refusal({"eval", "--model.path=m", "--data.eval=d", "--train.steps=4"}),
              HasSubstr("train.steps is not used by eval, only by train, plan; shardora eval --help"));
}

TEST(ParseInvocation, RefusesRepeatedKeysStrayWordsAndMissingValues) {
  EXPECT_THAT(refusal(ten_steps({"--adapter.rank=4", "--adapter.rank=5"})), HasSubstr("adapter.rank is given twice"));
  EXPECT_THAT(refusal(ten_steps({"lora"})), HasSubstr("unexpected word 'lora'"));
  EXPECT_THAT(refusal(ten_steps({"--adapter.rank"})), HasSubstr("adapter.rank"));
  const ConfigFile file("[adapter]\nrank = 4\nrank = 5\n");
  EXPECT_THAT(refusal(ten_steps({file.flag()})), HasSubstr("adapter.rank is given twice in"));
}

TEST(ParseInvocation, AcceptsEveryCommittedConfiguration) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SHARDORA_SOURCE_DIR "/configs")) {
    EXPECT_EQ(refusal({"train", "--config=" + entry.path().string(), "--model.path=m", "--data.train=t",
                       "--data.eval=e", "--output.dir=o"}),
              "(accepted)")
        << entry.path();
    ++files;
  }
  EXPECT_GE(files, 3);
}

TEST(ParseInvocation, RefusesBrokenOrMissingFiles) {
  EXPECT_THAT(refusal(ten_steps({"--config=/nowhere.cfg"})), HasSubstr("'/nowhere.cfg'"));
  EXPECT_THAT(refusal(ten_steps({"--config=/tmp"})), HasSubstr("'/tmp'"));
  const ConfigFile broken("[adapter]\nrank is 4\n");
  EXPECT_THAT(refusal(ten_steps({broken.flag()})), HasSubstr("rank is 4"));
  const ConfigFile nameless("[]\nadapter.rank = 4\n");
  EXPECT_THAT(refusal(ten_steps({nameless.flag()})), HasSubstr("unknown key '.adapter.rank'"));
  const ConfigFile nested("config = other.cfg\n");
  EXPECT_THAT(refusal(ten_steps({nested.flag()})), HasSubstr("command line only"));
}

TEST(ParseInvocation, NamesTheCommandsAndTheMissingKey) {
  EXPECT_THAT(refusal({}), HasSubstr("a command is missing"));
  EXPECT_THAT(refusal({"trian"}),
              AllOf(HasSubstr("'trian'"), HasSubstr("train, eval, merge, generate, plan, doctor, analyze, inspect")));
  EXPECT_THAT(refusal({"train", "--model.path=m", "--data.train=d", "--train.steps=1"}),
              AllOf(HasSubstr("output.dir is missing"), HasSubstr("train needs")));
  EXPECT_THAT(refusal({"eval", "--model.path=m"}), HasSubstr("nothing to evaluate: expected data.eval"));
  EXPECT_THAT(refusal({"merge", "--model.path=m", "--output.dir=o"}), HasSubstr("adapter.path is missing"));
  EXPECT_THAT(refusal({"generate", "--model.path=m"}), HasSubstr("generate.prompts is missing"));
  EXPECT_THAT(refusal({"inspect"}), HasSubstr("nothing to inspect"));
  EXPECT_EQ(refusal({"inspect", "--output.resume=runs/a/checkpoints/step-5"}), "(accepted)");
  EXPECT_THAT(refusal({"plan"}), HasSubstr("expected exactly one of them"));
  EXPECT_THAT(refusal({"plan", "--plan.shape=8B", "--merge.verify=true"}), HasSubstr("is not used by plan"));
}

TEST(ParseInvocation, RefusesWaysOfGenerationThatDoNotFitTogether) {
  const auto generation = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"generate", "--model.path=m", "--generate.prompts=p"};
    words.insert(words.end(), more.begin(), more.end());
    return refusal(words);
  };
  EXPECT_EQ(generation({"--generate.temperature=1", "--generate.top_k=3", "--generate.top_p=0.5"}), "(accepted)");
  EXPECT_EQ(generation({"--generate.beams=4"}), "(accepted)");
  EXPECT_THAT(generation({"--generate.top_k=3"}), HasSubstr("generate.temperature above 0"));
  EXPECT_THAT(generation({"--generate.top_p=0.5"}), HasSubstr("generate.temperature above 0"));
  EXPECT_THAT(generation({"--generate.beams=4", "--generate.temperature=1"}), HasSubstr("generate.beams = 4"));
  EXPECT_THAT(generation({"--generate.top_p=0"}), HasSubstr("generate.top_p"));
}

TEST(ParseInvocation, RefusesKeysThatDoNotFitTogether) {
  EXPECT_THAT(refusal(training({})), HasSubstr("exactly one of them"));
  EXPECT_THAT(refusal(ten_steps({"--train.epochs=1"})), HasSubstr("exactly one of them"));
  EXPECT_THAT(refusal(ten_steps({"--model.init=random"})), HasSubstr("adapter.method = full"));
  EXPECT_THAT(refusal(ten_steps({"--adapter.method=full", "--model.dtype=bfloat16"})), HasSubstr("trains in float32"));
  EXPECT_THAT(refusal(ten_steps({"--adapter.method=full", "--model.weight_layouts=one"})), HasSubstr("no frozen"));
  EXPECT_THAT(refusal(ten_steps({"--model.dtype=bfloat16", "--model.weight_layouts=two"})), HasSubstr("auto or one"));
  EXPECT_THAT(refusal(ten_steps({"--train.min_learning_rate=1"})), HasSubstr("at most train.learning_rate"));
  EXPECT_THAT(refusal(ten_steps({"--train.save_best=true"})), HasSubstr("expected data.eval"));
  EXPECT_THAT(refusal(ten_steps({"--train.eval_every=5"})), HasSubstr("expected data.eval"));
  EXPECT_THAT(refusal(ten_steps({"--train.early_stopping=5", "--data.eval=e"})), HasSubstr("train.eval_every"));
}

TEST(ParseInvocation, APlanTakesTheCommandLineOfTheRunThatItIsOf) {
  Words words = ten_steps({"--train.clip_norm=2", "--output.overwrite=true"});
  EXPECT_EQ(refusal(words), "(accepted)");
  words[0] = "plan";
  EXPECT_EQ(refusal(words), "(accepted)");
  words.emplace_back("--plan.shape=8B");
  EXPECT_THAT(refusal(words), HasSubstr("expected exactly one of them"));
}

TEST(ResolvedConfig, GivenAsAFileGivesTheSameOptionsAgain) {
  Words words = {"train"};
  RunOptions unset;
  for (const auto& [name, sample] : kSamples) {
    const bool contradicts = name == "train.epochs" || name == "model.init";
    if ((key_of(unset, name).used_by & kTrain) != 0 && !contradicts)
      words.push_back(fmt::format("--{}={}", name, sample));
  }
  const RunOptions first = parse_invocation(words).options;
  const ConfigFile file(resolved_config(first));
  const RunOptions again = parse_invocation({"train", file.flag()}).options;
  EXPECT_EQ(resolved_config(again), resolved_config(first));
  EXPECT_THAT(resolved_config(first), HasSubstr("\n[adapter]\nmethod = lora\nrank = 7\n"));
}

// The awk of launch/common/supervise.sh and read_config of launch/shardora/report/run_folder.py read the same.
TEST(ParseInvocation, AFilesCommentBeginsWithItsLineOrAfterABlank) {
  const std::pair<const char*, const char*> values[] = {{"run#1", "run#1"},
                                                        {"run #1", "run"},
                                                        {"\t#1", ""},
                                                        {"#1", ""},
                                                        {"\"run #1\"", "run #1"},
                                                        {"\"a \"\"b\"\"\"", "a \"b\""},
                                                        {"\"a\" # \"b\"", "a"},
                                                        {"a=b", "a=b"},
                                                        {"a \"b\"\r", "a \"b\""}};
  for (const auto& [text, value] : values) {
    const ConfigFile file(
        fmt::format("# steps = 3\n[output] # [data]\n  # keep = 3\ndir = {}\n[train]\nsteps=9#\n", text));
    EXPECT_THAT(refusal({"train", "--model.path=m", "--data.train=d", file.flag()}), HasSubstr("train.steps = '9#'"));
    const ConfigFile good(fmt::format("[output]\ndir = {}\n[train]\nsteps=9 # or so\n", text));
    const Words words = {"train", "--model.path=m", "--data.train=d", good.flag()};
    if (*value == '\0') {
      EXPECT_THAT(refusal(words), HasSubstr("output.dir is missing"));
    } else {
      EXPECT_EQ(parse_invocation(words).options.output.dir, value);
    }
  }
  for (const char* const broken : {"\"a", "\"a\"b", "\"a\"#b", "\"a\"\"", "\""}) {
    const ConfigFile file(fmt::format("[output]\ndir = {}\n", broken));
    EXPECT_THAT(refusal(training({"--train.steps=1", file.flag()})),
                HasSubstr("line 2: expected nothing but a comment"));
  }
}

TEST(ResolvedConfig, KeepsWhatAFileWouldReadAsAComment) {
  for (const char* const folder : {"run#1", "run #1", "#1", "\"run", "\"a\" #\"b\"", "a\"b", "a=b", "[a]"}) {
    const RunOptions first = parse_invocation({"train", "--model.path=m", "--data.train=d, #e:2", "--train.steps=1",
                                               fmt::format("--output.dir={}", folder)})
                                 .options;
    EXPECT_EQ(first.output.dir, folder);
    const ConfigFile file(resolved_config(first));
    const RunOptions again = parse_invocation({"train", file.flag()}).options;
    EXPECT_EQ(again.output.dir, folder);
    EXPECT_EQ(again.data.train.at(1).path, "#e");
  }
  EXPECT_THAT(refusal(training({"--train.steps=1", "--adapter.path=a\nb"})), HasSubstr("without line breaks"));
}

TEST(ResolvedConfig, ItsFolderCanBeReplacedOnTheCommandLine) {
  const ConfigFile file(resolved_config(parse_invocation(ten_steps({})).options));
  EXPECT_EQ(parse_invocation({"train", file.flag(), "--output.dir=other"}).options.output.dir, "other");
}

TEST(AgreedConfig, HoldsWhatChangesResultsAndNotWhereTheyGo) {
  const std::string text = agreed_config(parse_invocation(ten_steps({})).options);
  EXPECT_THAT(text, AllOf(HasSubstr("train.steps = 10\n"), HasSubstr("parallel.tensor = 1\n"),
                          HasSubstr("parallel.instruction_set = auto\n"), HasSubstr("output.checkpoint_every = auto\n"),
                          HasSubstr("train.deterministic = false\n")));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("output.dir")), Not(HasSubstr("parallel.threads")),
                          Not(HasSubstr("train.profile_ranges"))));
}

TEST(Help, NamesEveryKeyOfTheCommandWithItsDefaultAndNoOther) {
  RunOptions options;
  for (const CommandInfo& command : command_table()) {
    const std::string help = command_help(command);
    for (const OptionKey& option : option_table(options)) {
      const bool listed = help.find("--" + option.name + "\n") != std::string::npos;
      EXPECT_EQ(listed, (option.used_by & command.bit) != 0) << command.name << " " << option.name;
    }
    EXPECT_THAT(general_help(), HasSubstr(command.name));
  }
  EXPECT_THAT(command_help(command_table()[0]), HasSubstr("from 1 to 65536; default: 16"));
}

TEST(Help, ThePageOfKeysIsCurrent) {
  EXPECT_EQ(text_of(SHARDORA_SOURCE_DIR "/launch/docs/keys.md"), keys_page())
      << "write it anew: shardora --keys > launch/docs/keys.md";
}

// A terminal obeys control characters, and a reader of logs trusts line ends.
TEST(ParseInvocation, ShowsControlCharactersAsBytes) {
  const auto shows_bytes = AllOf(HasSubstr("\\x1b[2J"), Not(HasSubstr("\x1b")));
  for (const char* word : {"--train.\x1b[2J=1", "\x1b[2J", "--train.schedule=\x1b[2J", "--config=\x1b[2J"}) {
    EXPECT_THAT(refusal(ten_steps({word})), shows_bytes);
  }
  EXPECT_THAT(refusal({"fly\x1b[2J"}), shows_bytes);
  for (const char* line : {"\x1b[2J = 3", "schedule = \x1b[2J"}) {
    const ConfigFile file("[train]\n" + std::string(line) + "\n");
    EXPECT_THAT(refusal(ten_steps({file.flag()})), shows_bytes) << line;
  }
}

}  // namespace
}  // namespace shardora
