#include "runtime/train/gradients.h"

#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"
#include "runtime/formats/peft_adapter.h"

namespace shardora {
namespace {

// Where each layer starts among the elements [begin, end): parameters are laid out in the order of layers.
std::vector<std::int64_t> layer_starts(const ParameterSet& parameters, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> starts;
  std::int64_t behind = begin;
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.offset < begin || parameter.offset >= end) continue;
    const std::int64_t layer = layer_of(parameter.name);
    if (layer < 0) {
      if (starts.empty()) behind = parameter.offset + parameter.local.elements();
      continue;
    }
    SHARDORA_CHECK(layer + 1 >= std::ssize(starts));
    while (std::ssize(starts) <= layer) starts.push_back(parameter.offset);
    behind = parameter.offset + parameter.local.elements();
  }
  starts.push_back(behind);
  return starts;
}

}  // namespace

GradientSums::GradientSums(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters,
                           std::int64_t bucket)
    : backend_(backend), grid_(grid), parameters_(parameters), bucket_(bucket) {
  const std::array<std::int64_t, 4> cuts = {0, parameters.partial_elements(), parameters.replicated_elements(),
                                            parameters.elements()};
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parts_[i] = {.begin = cuts[i], .end = cuts[i + 1], .starts = layer_starts(parameters, cuts[i], cuts[i + 1])};
    parts_[i].waiting = parts_[i].starts.back();
  }
}

void GradientSums::layer_done(std::int64_t layer) {
  for (Part& part : parts_) {
    const std::int64_t start = part.starts[static_cast<std::size_t>(std::min(layer, std::ssize(part.starts) - 1))];
    if (part.waiting - start < bucket_) continue;
    sum(start, part.waiting);
    part.waiting = start;
  }
}

void GradientSums::finish() {
  for (Part& part : parts_) {
    sum(part.begin, part.waiting);
    sum(part.starts.back(), part.end);
    part.waiting = part.starts.back();
  }
  backend_.wait(latest_);
  latest_ = {};
  const TensorView all = parameters_.gradients();
  const std::int64_t partial = parameters_.partial_elements(), replicated = parameters_.replicated_elements();
  if (grid_.tensor.size == 1 || replicated == 0) return;
  if (grid_.tensor.rank != 0) backend_.zero(all.rows(partial, replicated - partial));
  backend_.wait(grid_.tensor_group->all_reduce(all.rows(0, replicated), Reduction::kSum, backend_.record()));
}

void GradientSums::sum(std::int64_t begin, std::int64_t end) {
  if (grid_.data.size == 1 || begin == end) return;
  const TensorView piece = parameters_.gradients().rows(begin, end - begin);
  latest_ = grid_.data_group->all_reduce(piece, Reduction::kSum, backend_.record());
}

double gradient_norm(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters) {
  const TensorView all = parameters.gradients();
  const std::int64_t replicated = parameters.replicated_elements();
  const double whole = sum_of_squares(backend, all.rows(0, replicated));
  const double shard = sum_of_squares(backend, all.rows(replicated, parameters.elements() - replicated));
  return std::sqrt(whole + grid.tensor_group->all_reduce(shard, Reduction::kSum));
}

}  // namespace shardora
