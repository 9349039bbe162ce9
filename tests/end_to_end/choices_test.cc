// Multiple-choice questions by the real program: the likelihoods are those that eval gives each option alone, at every
// split, and the shares follow from them.
#include "runtime/data/dataset.h"
#include "tests/end_to_end/small_run.h"
#include "tests/runtime/data/dataset_file.h"

namespace shardora {
namespace {

using ::testing::HasSubstr;

// Questions of two to four options, made of the held-out sequences cut at odd places.
class Choices : public ::testing::Test {
 protected:
  static constexpr int kQuestions = 7;
  TemporaryFolder folder_;
  std::vector<std::int64_t> questions_ = {0};
  std::vector<std::int32_t> answers_;
  DatasetFile file_{.offsets = {0}, .loss_mask = std::vector<std::uint8_t>{}};
  fs::path model_ = kModel;
  fs::path choices_ = folder_ / "choices.safetensors", scores_ = folder_ / "scores.jsonl";

  Choices() {
    const Dataset source(kHeldOut, 1'000'000, 1'000'000, Overlong::kError);
    for (int q = 0; q < kQuestions; ++q) {
      const int options = 2 + q % 3;
      for (int option = 0; option < options; ++option) add_option(source[(q + option) % source.size()].tokens, q);
      questions_.push_back(questions_.back() + options);
      answers_.push_back(q % options);
    }
    write_questions();
  }

  void write_questions() {
    file_.others.insert_or_assign("questions", tensor_of(questions_));
    file_.others.insert_or_assign("answers", tensor_of(answers_));
    write_dataset(choices_, file_);
  }

  // One token of its own comes first: a held-out sequence may be a single one.
  void add_option(std::span<const std::int32_t> tokens, int prompt) {
    file_.tokens.push_back(1);
    file_.loss_mask->push_back(0);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      file_.tokens.push_back(tokens[i]);
      file_.loss_mask->push_back(i + 1 == tokens.size() || i >= static_cast<std::size_t>(prompt) ? 1 : 0);
    }
    file_.offsets.push_back(static_cast<std::int64_t>(file_.tokens.size()));
  }

  json evaluate(const Split& split, const Words& more = {}) {
    return must_run(split, Words{"eval", "--model.path=" + model_.string(), "--eval.choices=" + choices_.string(),
                                 "--eval.scores=" + scores_.string()} +
                               more);
  }

  std::vector<json> lines() const {
    std::vector<json> found;
    std::ifstream file(scores_);
    for (std::string line; std::getline(file, line);) found.push_back(json::parse(line));
    return found;
  }

  // The same questions again and again, until there are so many options.
  void repeat_questions(std::int64_t least) {
    const DatasetFile once = file_;
    while (questions_.back() < least) {
      file_.tokens.insert(file_.tokens.end(), once.tokens.begin(), once.tokens.end());
      file_.loss_mask->insert(file_.loss_mask->end(), once.loss_mask->begin(), once.loss_mask->end());
      for (std::size_t i = 1; i < once.offsets.size(); ++i) {
        file_.offsets.push_back(file_.offsets.back() + once.offsets[i] - once.offsets[i - 1]);
      }
      const std::int64_t before = questions_.back();
      for (std::size_t q = 0; q < kQuestions; ++q) {
        questions_.push_back(before + questions_[q + 1]);
        answers_.push_back(answers_[q]);
      }
    }
    write_questions();
  }

  // The last evaluation's likelihoods are these, again and again.
  void expect_same(const std::vector<json>& expected) const {
    const std::vector<json> found = lines();
    ASSERT_EQ(found.size(), answers_.size());
    for (std::size_t q = 0; q < found.size(); ++q) {
      const json& values = expected[q % expected.size()].at("log_likelihoods");
      ASSERT_EQ(found[q].at("log_likelihoods").size(), values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double value = values[i];
        EXPECT_NEAR(found[q].at("log_likelihoods")[i].get<double>(), value, 1e-5 * std::abs(value)) << q << " " << i;
      }
    }
  }

  // What eval says of one option on its own.
  double alone(std::int64_t option) {
    const auto begin = file_.offsets[static_cast<std::size_t>(option)],
               end = file_.offsets[static_cast<std::size_t>(option) + 1];
    DatasetFile one{
        .tokens = {file_.tokens.begin() + begin, file_.tokens.begin() + end},
        .offsets = {0, end - begin},
        .loss_mask = std::vector<std::uint8_t>(file_.loss_mask->begin() + begin, file_.loss_mask->begin() + end)};
    write_dataset(folder_ / "one.safetensors", one);
    const json found = must_run(
        {1, 1}, {"eval", "--model.path=" + kModel.string(), "--data.eval=" + (folder_ / "one.safetensors").string()});
    return -found.at("loss").get<double>() * found.at("tokens").get<double>();
  }
};

TEST_F(Choices, LikelihoodsAreThoseOfEachOptionAlone) {
  evaluate({1, 1});
  const std::vector<json> found = lines();
  ASSERT_EQ(found.size(), kQuestions);
  for (const std::size_t q : {0U, 1U, 5U}) {
    EXPECT_EQ(found[q].at("answer"), answers_[q]);
    const auto options = static_cast<std::size_t>(questions_[q + 1] - questions_[q]);
    ASSERT_EQ(found[q].at("log_likelihoods").size(), options);
    for (std::size_t i = 0; i < options; ++i) {
      const double whole = alone(questions_[q] + static_cast<std::int64_t>(i));
      EXPECT_NEAR(found[q].at("log_likelihoods")[i].get<double>(), whole, 1e-5 * std::abs(whole)) << q << " " << i;
    }
  }
}

TEST_F(Choices, SharesFollowFromTheLikelihoods) {
  const json result = evaluate({1, 1}).at("choices");
  double right = 0, right_per_token = 0, chance = 0;
  for (const json& line : lines()) {
    const std::vector<double> sums = line.at("log_likelihoods");
    std::vector<double> means;
    for (std::size_t i = 0; i < sums.size(); ++i) means.push_back(sums[i] / line.at("tokens")[i].get<double>());
    const auto best = [](const std::vector<double>& v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
    right += best(sums) == line.at("answer"), right_per_token += best(means) == line.at("answer");
    chance += 1.0 / static_cast<double>(sums.size());
  }
  EXPECT_EQ(result.at("questions"), kQuestions);
  EXPECT_DOUBLE_EQ(result.at("accuracy"), right / kQuestions);
  EXPECT_DOUBLE_EQ(result.at("accuracy_per_token"), right_per_token / kQuestions);
  EXPECT_DOUBLE_EQ(result.at("chance"), chance / kQuestions);
}

TEST_F(Choices, AreTheSameAtEverySplitAndPacking) {
  evaluate({1, 1});
  const std::vector<json> whole = lines();
  const auto expect_same_at = [&](const Split& split, const Words& more) {
    evaluate(split, more);
    expect_same(whole);
  };
  expect_same_at({2, 1}, {"--train.micro_batch_tokens=20"});
  expect_same_at({2, 2}, {});
  expect_same_at({4, 2}, {"--data.packing=false"});
}

// More options than are packed at a time.
TEST_F(Choices, AreEachTheirOwnHoweverManyThereAre) {
  evaluate({1, 1});
  const std::vector<json> few = lines();
  repeat_questions(1100);
  evaluate({2, 1});
  expect_same(few);
}

// A vocabulary so large that the head works on 256 targets at a time.
TEST_F(Choices, AreTheSameWhereTheHeadWorksInChunks) {
  json config = json::parse(text_of(kModel / "config.json"));
  config["vocab_size"] = 20'000;
  fs::create_directory(folder_ / "shape");
  std::ofstream(folder_ / "shape/config.json") << config;
  must_run({1, 1}, {"train", "--model.path=" + (folder_ / "shape").string(), "--model.init=random",
                    "--adapter.method=full", "--data.train=" + kData.string(), "--train.steps=1",
                    "--train.global_batch=2", "--output.dir=" + (folder_ / "run").string()});
  model_ = folder_ / "run/model";
  repeat_questions(100);
  evaluate({1, 1}, {"--data.packing=false"});
  const std::vector<json> one_by_one = lines();
  evaluate({1, 1});
  expect_same(one_by_one);
}

TEST_F(Choices, StandBesideNamedSets) {
  const json result = evaluate({1, 1}, {"--data.eval=held=" + kHeldOut.string()});
  EXPECT_GT(result.at("held").at("loss").get<double>(), 0);
  EXPECT_EQ(result.at("choices").at("questions"), kQuestions);
}

TEST_F(Choices, ScoresWithoutAFolderAreRefusedBeforeAnythingIsRead) {
  scores_ = folder_ / "none/scores.jsonl";
  const ProgramRun refused =
      run_program({2, 1}, {"eval", "--model.path=" + (folder_ / "no model").string(),
                           "--eval.choices=" + choices_.string(), "--eval.scores=" + scores_.string()});
  EXPECT_EQ(refused.status, kIo);
  EXPECT_THAT(refused.errors, HasSubstr("eval.scores = " + scores_.string()));
}

TEST_F(Choices, OfAnotherKindOfFileAreRefused) {
  const ProgramRun refused =
      run_program({1, 1}, {"eval", "--model.path=" + kModel.string(), "--eval.choices=" + kHeldOut.string()});
  EXPECT_EQ(refused.status, 65);
  EXPECT_THAT(refused.errors, HasSubstr("has no tensor questions"));
}

}  // namespace
}  // namespace shardora
