#include "runtime/jobs/plan/step_work.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace shardora {
namespace {

double elements(const ProductShape& shape) { return static_cast<double>(shape.out) * static_cast<double>(shape.in); }

// Tokens of a typical micro-batch.
std::int64_t typical_rows(const RankWork& rank) {
  return std::max<std::int64_t>(1, std::llround(rank.tokens / std::max(1.0, rank.micro_batches)));
}

void add_product(std::vector<ProductWork>& products, const ProductWork& work) {
  for (ProductWork& known : products) {
    if (!(known.shape == work.shape)) continue;
    known.forward += work.forward, known.backward += work.backward;
    return;
  }
  products.push_back(work);
}

void add_layers(const RunShape& run, const RankWork& rank, StepWork& work) {
  const double forward = run.recompute == Recompute::kFull ? 2 : 1, backward = run.full ? 2 : 1;
  for (const DryRunLinear& linear : run.dry_run.linears) {
    const ProductShape shape{work.rows, linear.out_features, linear.in_features};
    const bool trains = linear.layer >= run.dry_run.lowest_trained_layer;
    add_product(work.products, {.shape = shape,
                                .forward = rank.micro_batches * (trains ? forward : 1),
                                .backward = trains ? rank.micro_batches * backward : 0});
    if (linear.adapter_rank == 0) continue;
    const double width = static_cast<double>(linear.in_features + linear.out_features);
    const double r = static_cast<double>(linear.adapter_rank);
    const double passes = run.recompute == Recompute::kFull ? 8 : 6;
    work.adapters.push_back({.shape = shape, .rank = linear.adapter_rank, .flops = passes * r * width * rank.tokens});
    if (run.magnitudes) work.norm_flops += 2 * r * elements(shape);
  }
}

// Of all layers, a token. Forward: both norms 4 h, both residuals with their gains 6 h, rotation and gains of q, k and
// v, SwiGLU. Backward: norms 8 h with their sums, gains 6 h, the others likewise.
double elementwise_bytes(const RunShape& run, const StepWork& work, const AttentionShape& attention) {
  const auto hidden = static_cast<double>(work.hidden), inner = static_cast<double>(work.intermediate);
  const auto heads = static_cast<double>((attention.heads + 2 * attention.kv_heads) * attention.head_dim);
  const double forward = 10 * hidden + 2 * heads + 3 * inner, backward = 14 * hidden + 3 * heads + 5 * inner;
  const double again = run.recompute == Recompute::kFull        ? forward
                       : run.recompute == Recompute::kSelective ? 4 * hidden + 3 * inner
                                                                : 0;
  return (forward + backward + again) * static_cast<double>(run.element_bytes) *
         static_cast<double>(run.config.num_hidden_layers);
}

// Pairs of a query and a key that it sees, over the layers, of one step.
double pairs(const RunShape& run, const RankWork& rank) {
  double sum = 0;
  for (const std::int64_t window : run.config.sliding_windows) {
    for (const std::int64_t length : rank.lengths) {
      const auto n = static_cast<double>(length), w = static_cast<double>(window);
      sum += window > 0 && window < length ? w * (n - w / 2) : n * n / 2;
    }
  }
  return sum / rank.steps;
}

void add_attention(const RunShape& run, const RankWork& rank, StepWork& work) {
  const AttentionPlan& plan = run.dry_run.attention.front();
  const double total = std::accumulate(rank.lengths.begin(), rank.lengths.end(), 0.0);
  double squares = 0;
  for (const std::int64_t length : rank.lengths) squares += static_cast<double>(length) * static_cast<double>(length);
  work.attention = {.heads = plan.heads,
                    .kv_heads = plan.kv_heads,
                    .head_dim = plan.head_dim,
                    .length = std::max<std::int64_t>(1, std::llround(squares / total))};
  work.attention.sequences = std::max<std::int64_t>(1, work.rows / work.attention.length);
  const double width = static_cast<double>(plan.heads * plan.head_dim), all = pairs(run, rank);
  const double trained =
      1 - static_cast<double>(run.dry_run.lowest_trained_layer) / static_cast<double>(run.config.num_hidden_layers);
  work.attention_forward_flops = 4 * width * all * (run.recompute == Recompute::kFull ? 2 : 1);
  work.attention_backward_flops = 10 * width * all * trained;
}

void add_head(const RunShape& run, const RankWork& rank, StepWork& work) {
  const double in_one = std::max(1.0, rank.targets / std::max(1.0, rank.micro_batches));
  const std::int64_t rows = std::min(run.dry_run.chunk_rows, static_cast<std::int64_t>(in_one));
  const double chunks = rank.targets / static_cast<double>(rows);
  work.head = {.shape = {rows, run.dry_run.vocabulary, run.config.hidden_size},
               .forward = chunks,
               .backward = run.full ? 2 * chunks : chunks};
  work.loss_bytes = 4 * kFp32 * rank.targets * static_cast<double>(run.dry_run.vocabulary);
}

void add_traffic(const RunShape& run, const RankWork& rank, StepWork& work) {
  const DryRun& dry_run = run.dry_run;
  const double share = rank.tokens / static_cast<double>(run.largest_micro_batch);
  work.tensor = dry_run.step;
  work.tensor += {.calls = std::llround(static_cast<double>(dry_run.micro_batch.calls) * rank.micro_batches),
                  .bytes = std::llround(static_cast<double>(dry_run.micro_batch.bytes) * share)};
  const ParameterSet& parameters = dry_run.parameters;
  const bool one_rank = dry_run.micro_batch.calls == 0;
  if (!one_rank && parameters.replicated_elements() > 0) {
    work.tensor_gradients = {.calls = 1, .bytes = parameters.replicated_elements() * 4};
  }
  if (run.data_size > 1) work.data = {.calls = 1, .bytes = parameters.elements() * 4};
}

}  // namespace

StepWork step_work(const RunShape& run, const RankWork& rank) {
  StepWork work;
  work.micro_batches = rank.micro_batches;
  work.rows = typical_rows(rank);
  work.hidden = run.config.hidden_size;
  for (const DryRunLinear& linear : run.dry_run.linears) {
    work.intermediate = std::max(work.intermediate, linear.layer == 0 ? linear.out_features : 0);
  }
  add_layers(run, rank, work);
  add_attention(run, rank, work);
  add_head(run, rank, work);
  work.elementwise_bytes = rank.tokens * elementwise_bytes(run, work, work.attention);
  // Values, gradients and both moments: zeroed, summed, measured and updated.
  work.optimizer_bytes = 10 * kFp32 * static_cast<double>(run.dry_run.parameters.elements());
  add_traffic(run, rank, work);
  return work;
}

}  // namespace shardora
