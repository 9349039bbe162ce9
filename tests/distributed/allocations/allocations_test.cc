// Once a run is under way an optimizer step allocates nothing, on any thread: the memory of step 3 is that of step
// 3000.
#include <algorithm>

#include "tests/distributed/allocations/allocation_counter.h"
#include "tests/support/small_training.h"

namespace shardora {
namespace {

constexpr int kWarm = 2, kLast = 10;  // steps: thread pools and a library's first uses belong to the first ones

// MPI packs and queues messages as it likes; oneDNN allocates six blocks in each product, whatever it is given.
const std::vector<std::string> kLibraries = {"libmpi", "libopen-", "mca_",      "libucp",   "libuct",
                                             "libucs", "libpsm",   "libfabric", "libevent", "libdnnl"};

// What a size that was not met before brings, once: the products' primitives for its token count, and attention's
// panels for a longer sequence.
const std::vector<std::string> kFirstSights = {"shardora::cpu::GemmCache::", "shardora::cpu::Scratch::"};

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

// Ten real steps; what steps 3 to 10 allocated, by origin.
std::map<std::string, int> allocated(const Case& run, const std::vector<std::int64_t>& lengths, bool tensor_parallel) {
  RunOptions options = testing::small_options(run.adapter);
  options.train.recompute = run.recompute;
  testing::SmallTraining training(options, lengths, tensor_parallel, kLast);
  for (int k = 1; k <= kWarm; ++k) training.run(k);
  test_world().barrier();
  allocations::start();
  for (int k = kWarm + 1; k <= kLast; ++k) training.run(k);
  return allocations::stop();
}

class AStep : public ::testing::TestWithParam<Case> {
 protected:
  void expect_none(const std::vector<std::int64_t>& lengths, const std::vector<std::string>& allowed) {
    for (const bool tensor_parallel : {false, true}) {
      if (tensor_parallel && test_world().size() == 1) continue;
      for (const auto& [origin, count] : allocated(GetParam(), lengths, tensor_parallel)) {
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
