#include "runtime/train/summary.h"

#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"

namespace shardora {
nlohmann::ordered_json to_json(const TrainSummary& summary) {
  return {{"command", "train"},
          {"steps", summary.steps},
          {"loss", summary.loss},
          {"eval", to_json(summary.evaluations)},
          {"tokens_per_second", summary.tokens_per_second},
          {"trained_parameters", summary.trained_parameters},
          {"total_parameters", summary.total_parameters},
          {"seconds", summary.seconds},
          {"stopped_early", summary.stopped_early},
          {"output", summary.output}};
}

TrainSummary summary_from(const std::string& text) {
  const nlohmann::ordered_json json = parse_json(text, "result.json");
  try {
    TrainSummary summary{.steps = json.at("steps").get<std::int64_t>(),
                         .loss = json.at("loss").get<double>(),
                         .seconds = json.at("seconds").get<double>(),
                         .tokens_per_second = json.at("tokens_per_second").get<double>(),
                         .trained_parameters = json.at("trained_parameters").get<std::int64_t>(),
                         .total_parameters = json.at("total_parameters").get<std::int64_t>(),
                         .stopped_early = json.at("stopped_early").get<bool>(),
                         .output = json.at("output").get<std::string>()};
    const nlohmann::ordered_json& eval = json.at("eval");
    const auto add = [&](const std::string& name, const nlohmann::ordered_json& e) {
      summary.evaluations.push_back({.name = name,
                                     .loss = e.at("loss").get<double>(),
                                     .perplexity = e.at("perplexity").get<double>(),
                                     .accuracy = e.at("accuracy").get<double>(),
                                     .tokens = e.at("tokens").get<std::int64_t>()});
    };
    if (eval.contains("loss") && eval.at("loss").is_number()) {
      add("", eval);
    } else {
      for (const auto& [name, figures] : eval.items()) add(name, figures);
    }
    return summary;
  } catch (const nlohmann::json::exception& error) {
    refuse(ExitStatus::kBadInput, "result.json: {}: remove it, or set output.overwrite = true", error.what());
  }
}

}  // namespace shardora
