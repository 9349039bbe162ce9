// The instruction-set levels of the CPU's loops: what is chosen, and that all of them compute the same.
#include <gmock/gmock.h>

#include <map>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using testing::HasSubstr;

// Large enough that loops are cut among threads, and of odd sizes.
constexpr std::int64_t kLevelTokens = 131, kLevelHeads = 4, kLevelHeadDim = 33,
                       kLevelWidth = kLevelHeads * kLevelHeadDim;

class OnOneLevel : public support::KernelTest {
 public:
  void TestBody() override {}
  using Results = std::map<std::string, std::vector<float>>;

  OnOneLevel(const std::string& level, int threads) {
    backend_ = make_backend(BackendKind::kCpu, {.threads = threads, .instruction_set = level});
  }

  // One operation of each kind of loop: sums, exponentials, columns, integers.
  Results run() {
    Results results;
    const TensorView x = matrix(1), y = matrix(2), out = unwritten(kLevelTokens, kLevelWidth),
                     more = unwritten(kLevelTokens, kLevelWidth);
    rms_norm_forward(*backend_,
                     {.x = x, .weight = row(3), .y = out, .rstd = floats(support::Vector(kLevelTokens, 1e30))});
    results["rms_norm"] = read(out);
    const TensorView h_gate = row(9);
    swiglu_backward(*backend_, {.dy = x,
                                .gate = {.u = y, .gain = row(7), .bias = row(8)},
                                .up = {.u = matrix(4)},
                                .dgate = {.du = out, .h = h_gate},
                                .dup = {.du = more}});
    results["dgate"] = read(out);
    results["dup"] = read(more);
    results["h_gate"] = read(h_gate);
    const TensorView h = row(5);
    scale_columns_backward(*backend_, {.dy = x, .u = y, .gain = row(6), .du = out, .h = h});
    results["h"] = read(h);
    dropout(*backend_, {.x = x,
                        .y = out,
                        .key = {17},
                        .sequence_indices = make<std::int64_t>({kLevelTokens}, indices()),
                        .positions = ints(indices()),
                        .probability = 0.3F});
    results["dropout"] = read(out);
    add_attention(results);
    add_loss_and_step(results);
    return results;
  }

 private:
  static std::vector<std::int64_t> indices() {
    std::vector<std::int64_t> values;
    for (std::int64_t i = 0; i < kLevelTokens; ++i) values.push_back(i);
    return values;
  }
  TensorView unwritten(std::int64_t rows, std::int64_t columns) { return KernelTest::unwritten({rows, columns}); }
  TensorView matrix(unsigned seed) {
    return floats({kLevelTokens, kLevelWidth}, support::random_vector(kLevelTokens * kLevelWidth, seed));
  }
  TensorView row(unsigned seed) { return floats(support::random_vector(kLevelWidth, seed)); }

  void add_attention(Results& results) {
    const auto heads = [&](unsigned seed) { return matrix(seed).reshaped({kLevelTokens, kLevelHeads, kLevelHeadDim}); };
    const TensorView offsets = ints({0, 100, kLevelTokens});
    const AttentionForward forward{.q = heads(7),
                                   .k = heads(8),
                                   .v = heads(9),
                                   .query_offsets = offsets,
                                   .key_offsets = offsets,
                                   .scale = 0.3F,
                                   .o = heads(10),
                                   .lse = unwritten(kLevelTokens, kLevelHeads)};
    attention_forward(*backend_, forward);
    const AttentionBackward backward{
        .forward = forward, .d_o = heads(11), .dq = heads(12), .dk = heads(13), .dv = heads(14)};
    attention_backward(*backend_, backward);
    results["o"] = read(forward.o);
    results["dq"] = read(backward.dq);
    results["dk"] = read(backward.dk);
    results["dv"] = read(backward.dv);
  }

  void add_loss_and_step(Results& results) {
    const CrossEntropy loss{.logits = matrix(15),
                            .targets = ints(indices()),
                            .row_max = unwritten(1, kLevelTokens),
                            .sums = unwritten(2, kLevelTokens),
                            .loss = make<double>({2}, support::Vector{0, 0})};
    cross_entropy_max(*backend_, loss);
    cross_entropy_sum(*backend_, loss);
    cross_entropy_finish(*backend_, loss);
    results["dlogits"] = read(loss.logits);
    const TensorView value = matrix(16),
                     zero = floats({kLevelTokens, kLevelWidth}, support::Vector(kLevelTokens * kLevelWidth, 0.25));
    adamw(*backend_, {.value = value,
                      .gradient = matrix(17),
                      .moment1 = matrix(18),
                      .moment2 = zero,
                      .learning_rate = 1e-2,
                      .step = 3});
    results["adamw"] = read(value);
  }
};

TEST(Levels, AutoIsTheHighestThatTheProcessorHas) {
  const std::vector<std::string> here = instruction_sets();
  ASSERT_FALSE(here.empty());
  EXPECT_EQ(here.front(), "x86-64");
  EXPECT_EQ(make_backend(BackendKind::kCpu, {})->instruction_set(), here.back());
}

TEST(Levels, TheChosenOneIsWhatTheBackendSays) {
  for (const std::string& level : instruction_sets()) {
    const auto backend = make_backend(BackendKind::kCpu, {.threads = 1, .instruction_set = level});
    EXPECT_EQ(backend->instruction_set(), level);
    EXPECT_THAT(backend->description(), HasSubstr(" " + level + ","));
  }
}

TEST(Levels, OneThatTheProcessorLacksIsRefusedWithThoseItHas) {
  try {
    make_backend(BackendKind::kCpu, {.instruction_set = "x86-64-v9"});
    FAIL() << "there is no such processor";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr("x86-64-v9"));
    EXPECT_THAT(error.what(), HasSubstr("it has x86-64"));
  }
}

TEST(Levels, GiveTheSameResultsWithinRounding) {
  const OnOneLevel::Results expected = OnOneLevel("x86-64", 2).run();
  for (const std::string& level : instruction_sets()) {
    for (const auto& [name, values] : OnOneLevel(level, 2).run()) {
      const std::vector<float>& reference = expected.at(name);
      support::expect_close(values, support::Vector(reference.begin(), reference.end()), 4e-6,
                            fmt::format("{} {}", level, name));
    }
  }
}

TEST(Levels, EachGivesTheSameBitsTwiceAndAtAnyNumberOfThreads) {
  for (const std::string& level : instruction_sets()) {
    const OnOneLevel::Results first = OnOneLevel(level, 2).run();
    EXPECT_EQ(OnOneLevel(level, 2).run(), first) << level;
    EXPECT_EQ(OnOneLevel(level, 1).run(), first) << level;
    EXPECT_EQ(OnOneLevel(level, 3).run(), first) << level;
  }
}

}  // namespace
}  // namespace shardora
