// A plan beside the run that it is of.
#include <regex>

#include "tests/end_to_end/small_run.h"
#include "tests/support/sanitized.h"

namespace shardora {
namespace {

// "  activations    1.5 MiB" of the memory table, but for what the process itself takes.
std::vector<std::string> segments(const std::string& text) {
  std::vector<std::string> rows;
  const std::regex row("  (\\w+) +([0-9.]+) MiB\n");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), row); it != std::sregex_iterator(); ++it) {
    rows.push_back((*it)[1].str() + " " + (*it)[2].str());
  }
  return rows;
}

Words plan_words(const Split& split, Words of_training) {
  of_training[0] = "plan";
  return of_training + Words{"--plan.devices=" + std::to_string(split.ranks)};
}

void expect_the_runs_table(const Split& split, const Words& variant) {
  const TemporaryFolder output;
  const Words words = train_words(output / "run") + variant + Words{"--train.steps=1"};
  const ProgramRun run = run_program(split, words);
  ASSERT_EQ(run.status, 0) << run.errors;
  const ProgramRun plan = run_program({1, split.tensor}, plan_words(split, words));  // one rank: no mpirun
  ASSERT_EQ(plan.status, 0) << plan.errors;
  EXPECT_THAT(segments(plan.output), ::testing::Not(::testing::IsEmpty()));
  EXPECT_EQ(segments(plan.output), segments(run.errors)) << to_string(split) << "\n" << plan.output << run.errors;
  EXPECT_EQ(plan.result().at("trained_parameters"), run.result().at("trained_parameters"));
  EXPECT_EQ(plan.result().at("parameters"), run.result().at("total_parameters"));
}

TEST(APlan, HasTheMemoryTableThatTheRunPrints) {
  const Words variants[] = {{},
                            {"--adapter.method=lora", "--train.recompute=selective"},
                            {"--adapter.method=full", "--train.recompute=full"},
                            {"--model.weight_layouts=one", "--train.micro_batch_tokens=64"}};
  for (const Words& variant : variants) expect_the_runs_table({2, 2}, variant);
  for (const Split& split : {Split{1, 1}, Split{4, 2}}) expect_the_runs_table(split, {});
}

// What the committed recipes say of themselves.
TEST(APlan, OfARecipeFitsItsDevices) {
  const std::tuple<const char*, const char*, int> recipes[] = {
      {"llama_8b_one_gpu", "8B", 1}, {"llama_70b_one_node", "70B", 8}, {"llama_70b_many_nodes", "70B", 32}};
  for (const auto& [name, shape, devices] : recipes) {
    const std::string config = SHARDORA_SOURCE_DIR "/configs/" + std::string(name) + ".cfg";
    const json plan =
        must_run({1, 1}, {"plan", "--config", config, "--plan.shape=" + std::string(shape), "--plan.device=h100",
                          "--plan.devices=" + std::to_string(devices), "--data.sequence_length=4096"});
    EXPECT_FALSE(plan.at("best").is_null()) << name << "\n" << plan.dump();
  }
}

TEST(APlan, KnowsTheSizeOfWhatARunWrites) {
  const TemporaryFolder folder;
  const Words words = train_words(folder / "run") + Words{"--train.steps=1", "--output.checkpoint_every=1"};
  ASSERT_EQ(run_program({1, 1}, words).status, 0);
  const json disk = run_program({1, 1}, plan_words({1, 1}, words)).result().at("best").at("disk");
  const auto adapter = static_cast<double>(fs::file_size(folder / "run/adapter/adapter_model.safetensors"));
  EXPECT_NEAR(disk.at("adapter_bytes").get<double>() / adapter, 1, 0.05);
  double checkpoint = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "run/checkpoints/step-1")) {
    if (entry.path().extension() == ".safetensors") checkpoint += static_cast<double>(entry.file_size());
  }
  EXPECT_NEAR(disk.at("checkpoint_bytes").get<double>() / checkpoint, 1, 0.05);
}

TEST(APlan, NeedsNoWeights) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "model");
  fs::copy_file(kModel / "config.json", folder / "model/config.json");
  const ProgramRun plan = run_program({1, 1}, {"plan", "--model.path=" + (folder / "model").string(),
                                               "--plan.device=h100", "--data.sequence_length=32"});
  EXPECT_EQ(plan.status, 0) << plan.errors;
  EXPECT_TRUE(plan.result().at("best").at("fits"));
  std::ofstream(folder / "model/config.json") << "{";
  const ProgramRun broken =
      run_program({1, 1}, {"plan", "--model.path=" + (folder / "model").string(), "--plan.device=h100"});
  EXPECT_EQ(broken.status, kBadInput) << broken.errors;
}

TEST(APlan, OfNothingOrOfTwoThingsIsRefused) {
  const std::pair<Words, const char*> mistakes[] = {
      {{}, "expected exactly one of them"},
      {{"--plan.shape=8B", "--model.path=/model"}, "expected exactly one of them"},
      {{"--plan.shape=9B"}, "plan.shape = 9B: expected one of 260K"},
      {{"--plan.shape=8B", "--plan.device=cpu"}, "plan.device = cpu: expected one of this, a100"},
      {{"--plan.shape=8B", "--plan.device=h100", "--parallel.tensor=3"}, "3"},
      {{"--plan.shape=8B", "--plan.device=h100", "--plan.devices=12", "--parallel.tensor=12"}, "12"},
      {{"--plan.shape=8B", "--train.steps=3", "--train.epochs=1"}, "expected at most one of them"},
      {{"--plan.shape=8B", "--plan.device=h100", "--data.sequence_length=200000"}, "200000 is more than"},
      {{"--plan.shape=8B", "--plan.devices=0"}, "plan.devices = '0'"},
      {{"--plan.shape=8B", "--plan.calibration=figures.json"},
       "plan.calibration = 'figures.json' on the command line: expected nothing: files of measured speeds are no "
       "longer kept"},
  };
  for (const auto& [words, message] : mistakes) {
    const ProgramRun run = run_program({1, 1}, Words{"plan"} + words);
    EXPECT_EQ(run.status, kUsage) << message << "\n" << run.errors;
    EXPECT_THAT(run.errors, ::testing::HasSubstr(message));
    EXPECT_EQ(run.output, "");
  }
  EXPECT_EQ(run_program({2, 1}, {"plan", "--plan.shape=8B", "--plan.device=h100"}).status, kUsage);
}

}  // namespace
}  // namespace shardora
