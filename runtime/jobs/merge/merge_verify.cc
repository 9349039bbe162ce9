#include "runtime/jobs/merge/merge_verify.h"

#include <algorithm>
#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/session/loaded_model.h"

namespace shardora {
namespace {

constexpr std::int64_t kTokens = 32;
constexpr double kFloat32Tolerance = 1e-4, kHalfTolerance = 5e-2;

// One sequence whose every token is asked for the next; which tokens does not matter.
Batch fixed_sequence(const ModelConfig& config) {
  Batch batch;
  const std::int64_t tokens = std::min(kTokens, config.max_position_embeddings);
  for (std::int64_t i = 0; i < tokens; ++i) {
    batch.tokens.push_back(static_cast<std::int32_t>((i * 7919 + 13) % config.vocab_size));
    batch.positions.push_back(static_cast<std::int32_t>(i));
    batch.sequence_indices.push_back(0);
    batch.target_rows.push_back(static_cast<std::int32_t>(i));
    batch.targets.push_back(0);
  }
  batch.offsets = {0, static_cast<std::int32_t>(tokens)};
  return batch;
}

std::vector<float> logits_of(const RunOptions& options, const Context& context, bool& half) {
  const ModelFiles files = open_model_files(options, context);
  for (const std::string& name : files.weights->names()) {
    half = half || files.weights->file_of(name).entry(name).dtype != "F32";
  }
  const Batch batch = fixed_sequence(files.config);
  LoadedModel model(options, context, files,
                    {.limits = {.tokens = batch.size(), .sequences = 1}, .positions = batch.size()});
  const DeviceBatch device = model.decoder().upload(batch, model.activations());
  const TensorView logits = model.decoder().logits(model.pass(device, 0, false), model.activations());
  std::vector<float> host(static_cast<std::size_t>(logits.elements()));
  context.backend.copy_to_host(view_of(std::span(host), logits.shape), logits);
  context.backend.synchronize();
  return host;
}

}  // namespace

double verify_merge(const RunOptions& options, const Context& context, const std::filesystem::path& folder) {
  bool ignored = false, half = false;
  const std::vector<float> adapted = logits_of(options, context, ignored);
  RunOptions merged_options = options;
  merged_options.model.path = folder.string();
  merged_options.adapter.path.clear();
  merged_options.model.dtype = "auto";  // the merged weights as they are, not rounded once more
  const std::vector<float> merged = logits_of(merged_options, context, half);
  double apart = 0, largest = 0;
  for (std::size_t i = 0; i < merged.size(); ++i) {
    apart = std::max(apart, std::abs(static_cast<double>(merged[i]) - static_cast<double>(adapted[i])));
    largest = std::max(largest, std::abs(static_cast<double>(adapted[i])));
  }
  Communicator& group = *context.grid.tensor_group;
  apart = group.all_reduce(apart, Reduction::kMax) / group.all_reduce(largest, Reduction::kMax);
  agree(*context.grid.world, [&] {
    const double tolerance = half ? kHalfTolerance : kFloat32Tolerance;
    if (!(apart <= tolerance)) {
      refuse(
          ExitStatus::kCorruption,
          "{}: the merged model's logits differ from those of base and adapter by {:.2g} of the largest, expected at "
          "most {:.2g}: nothing was written; merge again, and report this if it stays",
          options.output.dir, apart, tolerance);
    }
  });
  return apart;
}

}  // namespace shardora
