#include "runtime/jobs/merge/model_card.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/formats/safetensors.h"
#include "runtime/run/run_records.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMadeBy = "Made by `shardora merge`";

std::string quoted(const std::string& text) {
  return nlohmann::json(printable(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A name or value inside a line of Markdown.
std::string code(const std::string& text) {
  std::string safe = printable(text);
  std::erase(safe, '`');
  return "`" + safe + "`";
}

std::string row(const std::string& what, const std::string& value) {
  return value.empty() ? std::string() : fmt::format("| {} | {} |\n", what, value);
}

std::string table_head() { return "| | |\n| --- | --- |\n"; }

std::string method_table(const PeftConfig& config, const MergeSummary& summary) {
  const std::string name = config.use_dora ? "DoRA" : "LoRA";
  const std::string targets =
      config.target_pattern.empty() ? fmt::format("{}", fmt::join(config.target_modules, ", ")) : config.target_pattern;
  std::string text = "\n## Method\n\n" + table_head();
  text += row("adapter", fmt::format("{}, rank {}, alpha {}{}", name, config.rank, config.alpha,
                                     config.use_rslora ? ", rsLoRA" : ""));
  if (config.use_dora) text += row("magnitude", "one for each " + config.magnitude_axis + " feature");
  text += row("adapted layers", fmt::format("{} of {}", summary.merged_modules, code(targets)));
  return text;
}

// A dataset file's own words; nothing where it has moved.
std::string metadata_rows(const fs::path& file) {
  std::string text;
  try {
    const SafetensorsFile dataset(file, Links::kFollow);
    for (const auto& [key, value] : dataset.metadata()) {
      if (key != "format") text += row("– " + printable(key), code(value));
    }
  } catch (const Error&) {
  }
  return text;
}

std::string data_table(const RunRecords& records) {
  std::string text = "\n## Data\n\n" + table_head();
  for (const char* const key : {"data.train", "data.eval"}) {
    std::istringstream sources(records.value(key));
    for (std::string source; std::getline(sources, source, ',');) {
      source.erase(0, source.find_first_not_of(' '));
      text += row(key, code(source));
      const std::size_t name_end = source.find('='), share = source.rfind(':');
      fs::path file = source.substr(0, share);
      if (name_end != std::string::npos) file = source.substr(name_end + 1);
      text += metadata_rows(file);
    }
  }
  return text;
}

bool is(std::string_view key, std::string_view name) { return key == name; }

std::string training_table(const RunRecords& records) {
  std::string text = "\n## Training\n\n" + table_head();
  for (const char* const key :
       {"train.steps", "train.epochs", "train.global_batch", "train.learning_rate", "train.schedule",
        "train.warmup_steps", "train.weight_decay", "adapter.dropout", "adapter.norm_gradient", "train.seed"}) {
    const std::string value = records.value(key);
    const bool unset = value == "0" && (is(key, "train.steps") || is(key, "train.epochs"));
    if (!unset) text += row(key, printable(value));
  }
  return text;
}

std::string figures_table(const RunRecords& records) {
  std::string text = "\n## Figures\n\n" + table_head();
  text += row("step", fmt::format("{}", records.step));
  if (records.loss) text += row("training loss", fmt::format("{:.6g}", *records.loss));
  for (const auto& [name, loss] : records.evaluation_losses) {
    const std::string set = name.empty() ? "" : " on " + printable(name);
    text += row("evaluation loss" + set, fmt::format("{:.6g}", loss));
  }
  return text;
}

}  // namespace

std::string model_card(const RunOptions& options, const PeftConfig& config, const MergeSummary& summary) {
  const std::string base = config.base_model_name_or_path.empty() ? options.model.path : config.base_model_name_or_path;
  const std::string method = config.use_dora ? "dora" : "lora";
  std::string text = fmt::format(
      "---\nbase_model: {}\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- {}\n- "
      "shardora\n---\n\n",
      quoted(base), method);
  text += fmt::format("# {}\n\n", printable(fs::weakly_canonical(options.output.dir).filename().string()));
  text += fmt::format("{}: the adapter {} is folded into {}. Weights: {}.", kMadeBy, code(options.adapter.path),
                      code(base), options.merge.dtype == "base" ? "of the base's types" : options.merge.dtype);
  if (summary.logit_difference) {
    text += fmt::format(" Its logits differ from those of base and adapter by {:.2g} of the largest.",
                        *summary.logit_difference);
  }
  text += "\n" + method_table(config, summary);
  if (const std::optional<RunRecords> records = records_of(options.adapter.path)) {
    text += data_table(*records) + training_table(*records) + figures_table(*records);
  }
  return text;
}

bool has_model_card(const fs::path& folder) {
  try {
    return read_text(folder / kModelCard).find(kMadeBy) != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace shardora
