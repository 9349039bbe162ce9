// A rank that loads holds its shard and one tensor, never the file, nor a tensor twice.
#include <fstream>

#include "runtime/system/proc.h"
#include "tests/support/small_model.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kMiB = 1 << 20;
// Allocators, code that oneDNN writes, messages. Less than the largest tensor's shard on two ranks: 47 MiB.
constexpr std::int64_t kSlack = 30 * kMiB;

// 200 MB, half of them in one tensor.
ModelConfig large_config() {
  ModelConfig config{.model_type = "llama",
                     .hidden_size = 1024,
                     .intermediate_size = 2816,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 8,
                     .num_key_value_heads = 8,
                     .head_dim = 128,
                     .vocab_size = 24000,
                     .max_position_embeddings = 64,
                     .initializer_range = 0.02,
                     .tie_word_embeddings = true};
  config.sliding_windows = {0, 0};
  return config;
}

void write_model(const fs::path& folder) {
  TensorMap tensors;
  for (const NamedShape& expected : expected_tensors(large_config())) {
    HostTensor tensor{.dtype = DType::kF32, .shape = expected.shape, .bytes = {}};
    tensor.bytes.resize(static_cast<std::size_t>(Shape(expected.shape).elements()) * sizeof(float));
    for (std::size_t i = 0; i < tensor.f32().size(); ++i) tensor.f32()[i] = static_cast<float>(i % 7) * 0.01F;
    tensors.emplace(expected.name, std::move(tensor));
  }
  write_safetensors(folder / "model.safetensors", tensors, {});
}

// From now on VmHWM counts anew.
bool reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

class Loading : public ::testing::TestWithParam<AdapterMethod> {};

TEST_P(Loading, HoldsTheShardAndOneTensor) {
  const TemporaryFolder own;
  const fs::path folder = test_world().broadcast(own.path().string(), 0);
  if (test_world().rank() == 0) write_model(folder);
  test_world().barrier();
  const ModelConfig config = large_config();
  const bool measured = test_world().all_reduce(std::int64_t{reset_peak() ? 1 : 0}, Reduction::kMin) == 1;
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  Log log(test_world().rank(), true);
  const std::atomic<bool> stop = false;
  DryRunCommunicator solo(0, 1);
  const ProcessGrid grid{.tensor = {test_world().rank(), test_world().size()},
                         .world = &test_world(),
                         .data_group = &solo,
                         .tensor_group = &test_world()};
  const Context context{*backend, grid, log, stop, ""};
  ModelFiles files{.folder = folder, .config = config, .weights = {}, .adapter = {}};
  files.weights.emplace(folder, config);
  RunOptions options = testing::small_options({.method = GetParam()});
  const bool trains = GetParam() == AdapterMethod::kFull;
  const std::int64_t before = resident_memory_bytes();
  reset_peak();
  const LoadedModel model(options, context, files, {.limits = {8, 1}, .positions = 8, .training = trains});
  const std::int64_t grown = peak_memory_bytes() - before;
  const MemoryPlan& plan = model.memory();
  std::int64_t kept = 0;  // two copies of 200 MB, or values, gradients and moments
  for (const MemorySegment& segment : plan.segments) {
    if (segment.name != "scratch" && segment.name != "activations") kept += segment.bytes;
  }
  EXPECT_EQ(plan.largest_tensor_bytes / kMiB, 93 / test_world().size());
  EXPECT_GT(grown, kept - kSlack) << "the measurement itself";
  if (measured) {
    EXPECT_LT(grown, kept + plan.largest_tensor_bytes + kSlack);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Loading, ::testing::Values(AdapterMethod::kLora, AdapterMethod::kFull),
                         [](const auto& parameter) {
                           return parameter.param == AdapterMethod::kFull ? "full" : "frozen";
                         });

// What the dry run says of weights is what the weights take.
TEST(PlannedWeights, AreThoseThatAreMade) {
  testing::SmallModel model(testing::small_options({}), testing::small_config(), false);
  std::int64_t planned = 0;
  for (const MemorySegment& segment : model.model().memory().segments) {
    if (segment.name == "weights") planned = segment.bytes;
  }
  EXPECT_EQ(planned, model.model().decoder().weight_bytes());
}

}  // namespace
}  // namespace shardora
