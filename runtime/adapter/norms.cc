// Norms of all adapted modules, once per change of A or B: parts of each module, one all-reduce, the direct evaluation
// where parts nearly cancel, then norm and gain.
#include <algorithm>
#include <vector>

#include "kernels/dora.h"
#include "kernels/linear.h"
#include "runtime/adapter/adapter.h"

namespace shardora {
namespace {

// Below this share of its own terms the factored n^2 has lost its digits.
constexpr float kCancelling = 1.0F / 16.0F;
constexpr std::int64_t kTileRows = 64;

TensorView part(TensorView x, Range range) { return x.rows(range.begin, range.size); }

}  // namespace

void Adapter::refresh_norms(Communicator& tensor_group, Arena& scratch) {
  parameters_->refresh_copies(backend_);
  if (has_magnitude()) {
    backend_.zero(squares_);
    for (const AdaptedModule& module : modules_) {
      if (version_.norms == 0) measure_weight(module);
      if (!module.reduced || module.owner) norm_parts(module, scratch);
    }
    if (tensor_group.size() > 1 && reduced_squares_.elements() > 0) {
      backend_.wait(tensor_group.all_reduce(reduced_squares_, Reduction::kSum, backend_.record()));
    }
    repair_cancelling(tensor_group, scratch);
    for (const AdaptedModule& module : modules_) {
      norm_from_square(backend_, {.squared = module.squared, .norm = module.norm});
      dora_gain(backend_, {.magnitude = parameters_->value(module.m), .norm = module.norm, .gain = module.gain});
    }
  }
  version_.norms = version_.parameters;
}

// w, this shard's part: the frozen weight's own squared norms, once.
void Adapter::measure_weight(const AdaptedModule& module) const {
  if (options_.magnitude_axis == MagnitudeAxis::kOutput) {
    module.linear->weight->row_squared_norms(module.squared_weight);
  } else {
    module.linear->weight->column_squared_norms(module.squared_weight);
  }
}

void Adapter::norm_parts(const AdaptedModule& module, Arena& scratch) const {
  ScratchScope scope(scratch);
  const TensorView a = module.factor_a, b = module.factor_b;
  const std::int64_t r = a.size(0), out = b.size(0);
  const TensorView b_transposed = scope.take({r, out}), gram = scope.take({r, r});
  const TensorView product = scope.take({r, module.used.size}), third = scope.take({r, module.used.size});
  transpose(backend_, {.from = b, .to = b_transposed});
  const bool output = options_.magnitude_axis == MagnitudeAxis::kOutput;
  if (output) {
    module.linear->weight->forward(a, product, false);  // A W^T
    matmul(backend_, {.a = a, .b = a, .c = gram, .transpose_b = true});
    matmul(backend_, {.a = gram, .b = b_transposed, .c = third});
  } else {
    module.linear->weight->input_gradient(b_transposed, product, false);  // B^T W
    matmul(backend_, {.a = b, .b = b, .c = gram, .transpose_a = true});
    matmul(backend_, {.a = gram, .b = a, .c = third});
  }
  low_rank_norm(backend_, {.squared_weight = module.squared_weight,
                           .x = output ? b_transposed : a,
                           .y = product,
                           .z = third,
                           .scale = module.view.scale,
                           .squared = part(module.squared, module.used),
                           .reference = part(module.reference, module.used)});
}

// Rows (columns) whose summed n^2 is a small rest of large terms are computed directly, tile by tile. What is decided
// from sums is decided alike on every rank, so the second reduction is entered by all or by none.
void Adapter::repair_cancelling(Communicator& tensor_group, Arena& scratch) {
  if (backend_.kind() == BackendKind::kDryRun) {
    for (const AdaptedModule& module : modules_) direct_norms(module, {}, {}, scratch);
    return;
  }
  host_squares_.resize(static_cast<std::size_t>(squares_.elements()));  // once: later there is nothing to allocate
  cancelling_.resize(modules_.size());
  std::vector<float>& host = host_squares_;
  std::vector<std::vector<std::int32_t>>& found = cancelling_;
  backend_.copy_to_host(view_of(std::span(host), squares_.shape), squares_);
  Communicator* const groups[] = {&tensor_group};
  wait_on_host(backend_, backend_.record(), groups);
  const auto at = [&](TensorView view) {
    return std::span(host).subspan(
        static_cast<std::size_t>(static_cast<const float*>(view.data) - static_cast<const float*>(squares_.data)),
        static_cast<std::size_t>(view.elements()));
  };
  std::vector<double> sums;  // grows only where rows do cancel, which is rare
  for (const bool reduced : {true, false}) {
    const std::size_t before = sums.size();
    for (std::size_t k = 0; k < modules_.size(); ++k) {
      const AdaptedModule& module = modules_[k];
      if (module.reduced != reduced) continue;
      const std::span<float> squared = at(module.squared), reference = at(module.reference);
      found[k].clear();
      for (std::size_t j = 0; j < squared.size(); ++j) {
        if (squared[j] < kCancelling * reference[j]) found[k].push_back(static_cast<std::int32_t>(j));
      }
      if (found[k].empty()) continue;
      sums.resize(sums.size() + found[k].size());
      direct_norms(module, found[k], std::span(sums).last(found[k].size()), scratch);
    }
    if (reduced && sums.size() > before && tensor_group.size() > 1) {
      tensor_group.host().all_reduce(view_of(std::span(sums), {std::ssize(sums)}), Reduction::kSum, {});
    }
  }
  if (sums.empty()) return;
  std::size_t next = 0;
  for (const bool reduced : {true, false}) {
    for (std::size_t k = 0; k < modules_.size(); ++k) {
      if (modules_[k].reduced != reduced) continue;
      const std::span<float> squared = at(modules_[k].squared);
      for (const std::int32_t j : found[k]) squared[static_cast<std::size_t>(j)] = static_cast<float>(sums[next++]);
    }
  }
  backend_.copy_from_host(squares_, view_of(std::span(host), squares_.shape));
  backend_.synchronize();
}

// This shard's part of ||W + s B A||^2 at the given places of the stored magnitude; 0 where another rank speaks.
void Adapter::direct_norms(const AdaptedModule& module, std::span<const std::int32_t> stored, std::span<double> out,
                           Arena& scratch) const {
  std::fill(out.begin(), out.end(), 0.0);
  if (module.reduced && !module.owner) return;
  std::vector<std::int32_t> mine;
  std::vector<std::size_t> place;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const std::int64_t j = stored[i] - module.used.begin;
    if (j < 0 || j >= module.used.size) continue;
    mine.push_back(static_cast<std::int32_t>(j));
    place.push_back(i);
  }
  ScratchScope scope(scratch);
  const TensorView a = module.factor_a, b = module.factor_b;
  const WeightMatrix& weight = *module.linear->weight;
  const bool output = options_.magnitude_axis == MagnitudeAxis::kOutput;
  std::vector<double> sums(mine.size(), 0.0);
  const TensorView tile = scope.take({kTileRows, weight.in_features()});
  if (output) {
    for (std::size_t i = 0; i < mine.size(); ++i) {
      weight.read_rows(mine[i], tile.rows(0, 1));
      direct_row_norms(backend_, {.w = tile.rows(0, 1),
                                  .b = b.rows(mine[i], 1),
                                  .a = a,
                                  .scale = module.view.scale,
                                  .columns = {},
                                  .out = view_of(std::span(sums).subspan(i, 1), {1})});
    }
  } else {
    const TensorView columns = view_of(std::span(mine), {std::ssize(mine)});
    for (std::int64_t row = 0; row < weight.out_features() && !mine.empty(); row += kTileRows) {
      const TensorView rows = tile.rows(0, std::min(kTileRows, weight.out_features() - row));
      weight.read_rows(row, rows);
      direct_column_norms(backend_, {.w = rows,
                                     .b = b.rows(row, rows.size(0)),
                                     .a = a,
                                     .scale = module.view.scale,
                                     .columns = columns,
                                     .out = view_of(std::span(sums), {std::ssize(sums)})});
    }
  }
  for (std::size_t i = 0; i < mine.size(); ++i) out[place[i]] = sums[i];
}

}  // namespace shardora
