// Once a run is under way an optimizer step allocates nothing, on any thread: the memory of step 3 is that of step
// 3000.
#include <algorithm>

#include "runtime/train/step.h"
#include "tests/distributed/allocations/allocation_counter.h"
#include "tests/runtime/data/dataset_file.h"
#include "tests/support/small_model.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

constexpr int kWarm = 2, kLast = 10;  // steps: thread pools and a library's first uses belong to the first ones

// MPI packs and queues messages as it likes; oneDNN allocates six blocks in each product, whatever it is given.
const std::vector<std::string> kLibraries = {"libmpi", "libopen-", "mca_",      "libucp",   "libuct",
                                             "libucs", "libpsm",   "libfabric", "libevent", "libdnnl"};

// What a size that was not met before brings, once: the products' primitives for its token count, and attention's
// panels for a longer sequence.
const std::vector<std::string> kFirstSights = {"shardora::cpu::ProductCache::", "shardora::cpu::Scratch::"};

bool is_one_of(const std::string& origin, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return origin.starts_with(beginning); });
}

struct Case {
  std::string name;
  AdapterOptions adapter;
  Recompute recompute = Recompute::kNone;
};

std::vector<Case> cases() {
  return {{"dora", {}},
          {"dora_exact_dropout", {.dropout = 0.3, .norm_gradient = NormGradient::kExact}, Recompute::kSelective},
          {"dora_input", {.magnitude_axis = MagnitudeAxis::kInput}},
          {"lora", {.method = AdapterMethod::kLora}, Recompute::kFull},
          {"full", {.method = AdapterMethod::kFull}}};
}

Dataset dataset_of_lengths(const std::filesystem::path& path, const std::vector<std::int64_t>& lengths) {
  DatasetFile file;
  file.offsets.push_back(0);
  for (const std::int64_t length : lengths) {
    for (std::int64_t t = 0; t < length; ++t) file.tokens.push_back(static_cast<std::int32_t>((7 * t + length) % 53));
    file.offsets.push_back(file.offsets.back() + length);
  }
  write_dataset(path, file);
  return Dataset(path, 53, 64, Overlong::kError);
}

// Ten real steps; what steps 3 to 10 allocated, by origin.
std::map<std::string, int> allocated(const Case& run, const Dataset& dataset, bool tensor_parallel) {
  RunOptions options = testing::small_options(run.adapter);
  options.train.recompute = run.recompute;
  options.train.global_batch = 6;
  const PackingOptions packing{.micro_batch_tokens = 40};
  const Dataset* const datasets[] = {&dataset};
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 2});
  Log log(test_world().rank(), true);
  const std::atomic<bool> stop = false;
  RehearsalCommunicator solo(0, 1);
  const GridPosition all{test_world().rank(), test_world().size()};
  ProcessGrid grid{.world = &test_world(), .data_group = &solo, .tensor_group = &solo};
  (tensor_parallel ? grid.tensor : grid.data) = all;
  (tensor_parallel ? grid.tensor_group : grid.data_group) = &test_world();
  const Machine machine{*backend, grid, log, stop, ""};
  Instance instance(options, machine, ModelFiles{.folder = {}, .config = testing::small_config()},
                    {.limits = batch_limits(datasets, options.train.global_batch, packing),
                     .positions = dataset.longest(),
                     .training = true});
  const Sampler sampler({{.dataset = &dataset}}, options.train.global_batch, true, 5);
  const Schedule schedule(options.train, kLast);
  TrainStep step({options.train, machine, instance, sampler, schedule, datasets, packing});
  for (int k = 1; k <= kWarm; ++k) step.run(k);
  test_world().barrier();
  allocations::start();
  for (int k = kWarm + 1; k <= kLast; ++k) step.run(k);
  return allocations::stop();
}

class AStep : public ::testing::TestWithParam<Case> {
 protected:
  void expect_none(const std::vector<std::int64_t>& lengths, const std::vector<std::string>& allowed) {
    const TemporaryFolder folder;
    const Dataset dataset = dataset_of_lengths(folder / "data", lengths);
    for (const bool tensor_parallel : {false, true}) {
      if (tensor_parallel && test_world().size() == 1) continue;
      for (const auto& [origin, count] : allocated(GetParam(), dataset, tensor_parallel)) {
        if (is_one_of(origin, kLibraries) || is_one_of(origin, allowed)) continue;
        ADD_FAILURE() << origin << " allocated " << count << " times in steps 3 to 10";
      }
    }
  }
};

TEST_P(AStep, AllocatesNothingWithBatchesOfOneSize) { expect_none(std::vector<std::int64_t>(24, 10), {}); }

// The largest micro-batch may come last.
TEST_P(AStep, AllocatesWithRaggedBatchesOnlyForSizesThatAreNew) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < 48; ++i) lengths.push_back(1 + (i * i * 7 + 3 * i) % 29);
  expect_none(lengths, kFirstSights);
}

INSTANTIATE_TEST_SUITE_P(Methods, AStep, ::testing::ValuesIn(cases()),
                         [](const auto& parameter) { return parameter.param.name; });

// The counter itself: a hook that is not called would make every count 0.
TEST(TheCounter, SeesNewMallocAndOtherThreads) {
  allocations::start();
  std::vector<int> one(100);
  std::free(std::malloc(10));
#pragma omp parallel num_threads(2)
  { delete[] new char[77]; }
  const auto origins = allocations::stop();
  int total = 0;
  for (const auto& [origin, count] : origins) total += count;
  EXPECT_GE(total, 3);
  EXPECT_EQ(one.size(), 100U);
}

}  // namespace
}  // namespace shardora
