#include "runtime/run/run_identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/system/printable.h"

namespace shardora {

// Left out, because a resumed run may change them: ranks, tensor size, micro-batches, what is recomputed (it changes no
// bit), threads, instruction set, weight layouts, a profiler's ranges, steps and epochs, how often to evaluate, log and
// save, and paths (their content is compared).
RunIdentity run_identity(const RunOptions& options, const std::string& model_fingerprint,
                         const std::string& data_fingerprint) {
  const AdapterOptions& adapter = options.adapter;
  const TrainOptions& train = options.train;
  const auto text = [](const auto& value) { return fmt::format("{}", value); };
  RunIdentity identity = {{"model.path (content)", model_fingerprint},
                          {"data.train (content)", data_fingerprint},
                          {"data.shuffle", text(options.data.shuffle)},
                          {"train.global_batch", text(train.global_batch)},
                          {"train.learning_rate", text(train.learning_rate)},
                          {"train.magnitude_learning_rate", text(train.magnitude_learning_rate)},
                          {"train.b_learning_rate_ratio", text(train.b_learning_rate_ratio)},
                          {"train.warmup_steps", text(train.warmup_steps)},
                          {"train.schedule", text(static_cast<int>(train.schedule))},
                          {"train.min_learning_rate", text(train.min_learning_rate)},
                          {"train.weight_decay", text(train.weight_decay)},
                          {"train.beta1", text(train.beta1)},
                          {"train.beta2", text(train.beta2)},
                          {"train.epsilon", text(train.epsilon)},
                          {"train.clip_norm", text(train.clip_norm)},
                          {"train.seed", text(train.seed)},
                          {"train.deterministic", text(train.deterministic)},
                          {kLastStep, "what is left"},
                          {"adapter.method", text(static_cast<int>(adapter.method))}};
  if (adapter.method == AdapterMethod::kFull) return identity;
  identity["model.dtype"] = options.model.dtype == "bfloat16" ? "bfloat16" : "float32";
  identity["adapter.rank"] = text(adapter.rank);
  identity["adapter.alpha"] = text(adapter.alpha);
  identity["adapter.rslora"] = text(adapter.rslora);
  identity["adapter.dropout"] = text(adapter.dropout);
  identity["adapter.dropout_scope"] = text(static_cast<int>(adapter.dropout_scope));
  identity["adapter.target_modules"] = fmt::format("{}", fmt::join(adapter.target_modules, ","));
  identity["adapter.exclude_modules"] = fmt::format("{}", fmt::join(adapter.exclude_modules, ","));
  identity["adapter.layers"] = fmt::format("{}", fmt::join(adapter.layers, ","));
  identity["adapter.rank_pattern"] = fmt::format("{}", adapter.rank_pattern);
  identity["adapter.alpha_pattern"] = fmt::format("{}", adapter.alpha_pattern);
  identity["adapter.magnitude_axis"] = text(static_cast<int>(adapter.magnitude_axis));
  identity["adapter.norm_gradient"] = text(static_cast<int>(adapter.norm_gradient));
  return identity;
}

std::string to_json(const RunIdentity& identity) { return nlohmann::json(identity).dump(); }

void require_same_run(const std::string& saved_json, const RunIdentity& now, const std::string& checkpoint) {
  const std::string manifest = printable(checkpoint) + "/manifest.json";
  const nlohmann::ordered_json saved = parse_json(saved_json, manifest);
  const JsonFields fields(saved, manifest);
  for (const auto& [key, value] : now) {
    const std::string before = fields.text_or(key, "(absent)");
    if (before == value) continue;
    refuse(ExitStatus::kMismatch,
           "{} is {} now, and was {} when {} was saved: a resumed run cannot change it; set it back, or choose another "
           "output.dir",
           key, value, printable(before), printable(checkpoint));
  }
  if (saved.size() != now.size()) {
    refuse(ExitStatus::kMismatch, "{}: was saved by a run of another kind: choose another output.dir",
           printable(checkpoint));
  }
}

}  // namespace shardora
