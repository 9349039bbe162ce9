// Each line goes out by one write, so that a kill leaves at most one torn line, the last; that one is dropped by the
// next start. Numbers are the shortest text that reads back as the same double; what is not finite becomes null.
#include "runtime/observe/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "runtime/system/files.h"
#include "runtime/system/output_file.h"

namespace shardora {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kLongestFile = std::int64_t{16} << 30;

bool is_kept(const std::string& line, std::int64_t after_step, std::int64_t last_step) {
  const Json value = Json::parse(line, nullptr, false);
  if (!value.is_object()) return false;
  const auto step = value.find("step");
  if (step == value.end() || !step->is_number_integer()) return false;
  const auto number = step->get<std::int64_t>();
  return number <= after_step && (number < last_step || !value.contains("eval_loss"));
}

// Whole lines up to a step; a last line without its end is torn and goes.
void cut(const std::filesystem::path& path, std::int64_t after_step, std::int64_t last_step) {
  if (!is_there(path)) return;
  const std::string text = read_text(path, kLongestFile);
  std::string kept;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    const std::string line = text.substr(begin, end - begin);
    if (is_kept(line, after_step, last_step)) kept += line + '\n';
    begin = end + 1;
  }
  if (kept != text) replace_file(path, kept);
}

}  // namespace

struct Metrics::Impl {
  std::filesystem::path path;
  int descriptor = -1;
  ~Impl() {
    if (descriptor >= 0) close(descriptor);
  }
  void write_line(const Json& value) const {
    const std::string line = value.dump() + '\n';
    std::size_t done = 0;
    while (done < line.size()) {
      const ssize_t written = ::write(descriptor, line.data() + done, line.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) refuse_output("writing a line", path, errno);
      done += static_cast<std::size_t>(written);
    }
  }
};

Metrics::Metrics(const std::filesystem::path& path, std::int64_t after_step, std::int64_t last_step)
    : impl_(std::make_unique<Impl>()) {
  cut(path, after_step, last_step);
  impl_->path = path;
  impl_->descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (impl_->descriptor < 0) refuse_output("opening it", path, errno);
}

Metrics::Metrics() = default;
Metrics::~Metrics() = default;
Metrics::Metrics(Metrics&&) noexcept = default;
Metrics& Metrics::operator=(Metrics&&) noexcept = default;

void Metrics::write(const StepMetrics& metrics) {
  if (!impl_) return;
  Json line{{"step", metrics.step},
            {"loss", metrics.loss},
            {"learning_rate", metrics.learning_rate},
            {"gradient_norm", metrics.gradient_norm},
            {"tokens", metrics.tokens},
            {"seconds", metrics.seconds},
            {"tokens_per_second", metrics.tokens_per_second},
            {"model_flops_per_second", metrics.model_flops_per_second},
            {"peak_memory_bytes", metrics.peak_memory_bytes}};
  if (metrics.model_flops_utilisation) line["model_flops_utilisation"] = *metrics.model_flops_utilisation;
  if (metrics.magnitude_drift) {
    line["magnitude_drift"] = {{"mean", metrics.magnitude_drift->mean}, {"max", metrics.magnitude_drift->max}};
  }
  if (metrics.skipped) line["skipped"] = true;
  Json& phases = line["phases"];
  for (std::size_t i = 0; i < kPhaseNames.size(); ++i) phases[std::string(kPhaseNames[i])] = metrics.phases[i];
  impl_->write_line(line);
}

void Metrics::write_evaluation(std::int64_t step, const std::string& name, double loss, double perplexity,
                               std::int64_t tokens, const std::vector<double>& drift_by_layer) {
  if (!impl_) return;
  Json line{{"step", step}};
  if (!name.empty()) line["eval_name"] = name;
  line["eval_loss"] = loss;
  line["eval_perplexity"] = perplexity;
  line["eval_tokens"] = tokens;
  if (!drift_by_layer.empty()) line["magnitude_drift_by_layer"] = drift_by_layer;
  impl_->write_line(line);
}

void Metrics::sync() {
  if (impl_) sync_descriptor(impl_->descriptor, "syncing it", impl_->path);
}

}  // namespace shardora
