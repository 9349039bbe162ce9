#include "runtime/train/summary.h"

#include <nlohmann/json.hpp>

#include "runtime/io/json.h"

namespace shardora {

std::string summary_text(const TrainSummary& summary) {
  nlohmann::ordered_json evaluations = nlohmann::ordered_json::array();
  for (const Evaluation& e : summary.evaluations) {
    evaluations.push_back({{"name", e.name},
                           {"loss", e.loss},
                           {"perplexity", e.perplexity},
                           {"accuracy", e.accuracy},
                           {"tokens", e.tokens}});
  }
  const nlohmann::ordered_json json = {{"command", "train"},
                                       {"steps", summary.steps},
                                       {"loss", summary.loss},
                                       {"eval", evaluations},
                                       {"tokens_per_second", summary.tokens_per_second},
                                       {"trained_parameters", summary.trained_parameters},
                                       {"total_parameters", summary.total_parameters},
                                       {"seconds", summary.seconds},
                                       {"stopped_early", summary.stopped_early},
                                       {"output", summary.output}};
  return json.dump();
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
    for (const auto& e : json.at("eval")) {
      summary.evaluations.push_back({.name = e.at("name").get<std::string>(),
                                     .loss = e.at("loss").get<double>(),
                                     .perplexity = e.at("perplexity").get<double>(),
                                     .accuracy = e.at("accuracy").get<double>(),
                                     .tokens = e.at("tokens").get<std::int64_t>()});
    }
    return summary;
  } catch (const nlohmann::json::exception& error) {
    refuse(ExitStatus::kBadInput, "result.json: {}: remove it, or set output.overwrite = true", error.what());
  }
}

}  // namespace shardora
