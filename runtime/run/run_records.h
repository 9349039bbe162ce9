// What a training run has written down beside its adapter, for those who tell of it later.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace shardora {

struct RunRecords {
  std::filesystem::path folder;
  std::map<std::string, std::string> configuration;  // of config.resolved.cfg: "train.steps" -> "100"
  std::int64_t step = 0;                             // of the figures
  std::optional<double> loss;                        // of the last logged step up to `step`
  std::map<std::string, double> evaluation_losses;   // by set; the single one's name is empty

  std::string value(const std::string& key) const;  // empty where it is not recorded
};

// Of the run that made an adapter: RUN/adapter, RUN/checkpoints/step-N, or the adapter in that. The figures are those
// of the checkpoint's step, of the best step where that one was kept, else of the last. Nothing where the folder is of
// no run, or where its records cannot be read.
std::optional<RunRecords> records_of(const std::filesystem::path& adapter);

}  // namespace shardora
