// analyze: how far each linear layer has moved from the base, in magnitude and in direction. The layers are dealt to
// the ranks; a rank holds one block of rows of one layer at a time, and one adapter.
#include "runtime/jobs/analyze/analyze.h"

#include <optional>

#include "runtime/adapter/decomposition.h"
#include "runtime/adapter/folded_modules.h"
#include "runtime/comm/agreement.h"
#include "runtime/jobs/analyze/analysis_sources.h"
#include "runtime/jobs/analyze/report.h"
#include "runtime/model/stored_rows.h"
#include "runtime/session/loaded_model.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

struct Base {
  fs::path folder;
  ModelConfig config;
  std::optional<ModelWeights> weights;
};

std::string module_of(const NamedShape& weight) { return weight.name.substr(0, weight.name.rfind('.')); }

// Turns a block of the base's rows, from row `first`, into the same rows of the tuned weight.
using TunedRows = std::function<TensorView(std::int64_t first, TensorView base)>;

Decomposition compare(const RunOptions& options, Backend& backend, const Base& base, const NamedShape& weight,
                      bool by_rows, const TunedRows& tuned) {
  StoredRows stored(backend, base.weights->file_of(weight.name), weight);
  Decomposition change(stored.rows(), stored.columns(), by_rows);
  for (std::int64_t first = 0; first < stored.rows(); first += stored.block_rows()) {
    const TensorView rows = stored.read(first);
    round_as_stored(options.model, weight, rows.span<float>());
    change.add(first, rows, tuned(first, rows));
  }
  return change;
}

// One adapter or model beside the base.
class Compared {
 public:
  Compared(const RunOptions& options, const Context& context, const Base& base, const AnalysisSource& source)
      : options_(options), backend_(context.backend), base_(base) {
    if (source.is_model) {
      open_model(source.path);
    } else {
      open_adapter(source.path, context.log);
    }
  }

  const std::vector<NamedShape>& layers() const { return layers_; }
  bool by_rows() const { return by_rows_; }
  std::string method() const { return model_ ? "full" : adapter_->config.use_dora ? "dora" : "lora"; }

  WeightChange measure(const NamedShape& weight) const {
    if (model_) {
      StoredRows tuned(backend_, model_->file_of(weight.name), weight);
      return compare(options_, backend_, base_, weight, by_rows_,
                     [&](std::int64_t first, TensorView) { return tuned.read(first); })
          .result();
    }
    const FoldedModule& module = modules_.at(module_of(weight));
    std::vector<float> copy;
    const Decomposition change =
        compare(options_, backend_, base_, weight, by_rows_, [&](std::int64_t first, TensorView rows) {
          copy.assign(rows.span<float>().begin(), rows.span<float>().end());
          const TensorView tuned = view_of(std::span(copy), rows.shape);
          add_low_rank(backend_, module, first, tuned);
          return tuned;
        });
    return module.magnitude.empty() ? change.result() : change.result(module.magnitude);
  }

 private:
  void open_model(const fs::path& folder) {
    model_.emplace(folder, read_model_config(folder));
    by_rows_ = options_.adapter.magnitude_axis == MagnitudeAxis::kOutput;
    for (const NamedShape& weight : expected_tensors(base_.config)) {
      if (weight.shape.size() != 2 || weight.name.find("_proj.") == std::string::npos) continue;
      require_same_shape(folder, weight);
      layers_.push_back(weight);
    }
  }

  void require_same_shape(const fs::path& folder, const NamedShape& weight) const {
    const std::vector<std::string>& names = model_->names();
    const bool has_it = std::find(names.begin(), names.end(), weight.name) != names.end();
    if (has_it && model_->file_of(weight.name).entry(weight.name).shape == weight.shape) return;
    refuse(ExitStatus::kBadInput, "{}: {} {}, {} in the base {}: is it of another base?", printable(folder.string()),
           weight.name, has_it ? "has another shape than" : "is missing, but it is",
           has_it ? to_string(Shape(weight.shape)) : std::string("there"), printable(base_.folder.string()));
  }

  void open_adapter(const fs::path& folder, Log& log) {
    adapter_ = read_peft_adapter(folder);
    for (const std::string& line : settle_adapter(*adapter_, base_.config, &*base_.weights)) log.warn(line);
    modules_ = folded_modules(base_.config, *adapter_);
    for (const NamedShape& weight : expected_tensors(base_.config)) {
      if (weight.name.ends_with(".weight") && modules_.contains(module_of(weight))) layers_.push_back(weight);
    }
    // LoRA has no magnitude of its own: the axis is the user's choice.
    const bool own = adapter_->config.use_dora;
    by_rows_ =
        own ? adapter_->config.magnitude_axis != "input" : options_.adapter.magnitude_axis == MagnitudeAxis::kOutput;
  }

  const RunOptions& options_;
  Backend& backend_;
  const Base& base_;
  std::optional<ModelWeights> model_;
  std::optional<PeftAdapter> adapter_;
  std::map<std::string, FoldedModule> modules_;
  std::vector<NamedShape> layers_;
  bool by_rows_ = true;
};

// The layers of this rank; the others' places stay 0.
std::vector<double> measure_share(const Compared& compared, const Communicator& world) {
  const std::vector<NamedShape>& layers = compared.layers();
  std::vector<double> figures(3 * layers.size(), 0.0);
  const auto ranks = static_cast<std::size_t>(world.size());
  for (auto i = static_cast<std::size_t>(world.rank()); i < layers.size(); i += ranks) {
    const WeightChange change = compared.measure(layers[i]);
    figures[3 * i] = change.magnitude;
    figures[3 * i + 1] = change.direction;
    figures[3 * i + 2] = change.base_magnitude;
  }
  return figures;
}

void append(const Compared& compared, std::int64_t step, std::span<const double> figures, Analysis& analysis) {
  analysis.method = compared.method();
  analysis.output_axis = compared.by_rows();
  for (std::size_t i = 0; i < compared.layers().size(); ++i) {
    const std::string module = module_of(compared.layers()[i]);
    analysis.modules.push_back({.step = step,
                                .module = module,
                                .layer = layer_of(module),
                                .magnitude = figures[3 * i],
                                .direction = figures[3 * i + 1],
                                .base_magnitude = figures[3 * i + 2]});
  }
}

}  // namespace

Analysis analyze(const RunOptions& options, const Context& context) {
  Communicator& world = *context.grid.world;
  const std::string& csv = options.analyze.csv;
  const bool writes = world.rank() == 0 && !csv.empty();
  Base base{.folder = options.model.path};
  std::vector<AnalysisSource> sources;
  agree(world, [&] {
    if (writes) {
      require_place("analyze.csv", csv);
      require_own_csv(csv);
    }
    base.config = read_model_config(base.folder);
    base.weights.emplace(base.folder, base.config);
    sources = analysis_sources(options);
  });
  Analysis analysis{.csv = csv};
  for (const AnalysisSource& source : sources) {
    std::optional<Compared> compared;
    std::vector<double> figures;
    agree(world, [&] {
      compared.emplace(options, context, base, source);
      figures = measure_share(*compared, world);
    });
    world.all_reduce(view_of(std::span(figures), {std::ssize(figures)}), Reduction::kSum, {});  // one is not 0
    append(*compared, source.step, figures, analysis);
  }
  agree(world, [&] {
    if (writes) replace_file(csv, to_csv(analysis));
  });
  return analysis;
}

}  // namespace shardora
