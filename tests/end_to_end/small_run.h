// A training run on a small committed model, by the real program.
#pragma once

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "runtime/formats/safetensors.h"
#include "tests/support/run_program.h"

namespace shardora {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

// Exit statuses.
inline constexpr int kUsage = 64, kBadInput = 65, kMismatch = 66, kUnavailable = 69, kOutOfMemory = 71, kIo = 74,
                     kStoppedEarly = 75, kNotFinite = 76;

inline const fs::path kGolden = fs::path(SHARDORA_SOURCE_DIR) / "tests/parity/golden";
inline const fs::path kModel = kGolden / "models/qwen2";  // biases, and 2 KV heads
inline const fs::path kData = kGolden / "data/101-train.safetensors";
inline const fs::path kHeldOut = kGolden / "data/101-held-out.safetensors";

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline Words train_words(const fs::path& output, const std::string& learning_rate = "1e-2") {
  return {"train",
          "--model.path=" + kModel.string(),
          "--adapter.rank=4",
          "--data.train=" + kData.string(),
          "--train.global_batch=6",
          "--train.learning_rate=" + learning_rate,
          "--train.seed=3",
          "--output.dir=" + output.string()};
}

// One figure of every optimizer step in metrics.jsonl.
inline std::vector<double> values(const fs::path& run, const char* key) {
  std::vector<double> found;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const json object = json::parse(line);
    if (object.contains("loss")) found.push_back(object.at(key));
  }
  return found;
}
inline std::vector<double> losses(const fs::path& run) { return values(run, "loss"); }

// The new tokens of every prompt, as `generate` says them.
inline json tokens_of(const json& result) {
  json tokens = json::array();
  for (const json& one : result.at("sequences")) tokens.push_back(one.at("tokens"));
  return tokens;
}

inline std::string adapter_bytes(const fs::path& run) { return text_of(run / "adapter/adapter_model.safetensors"); }

// Largest ||a - b|| / ||b - start|| over the tensors of two adapters.
inline double worst_update(const fs::path& a, const fs::path& b, const fs::path& start) {
  const auto file = [](const fs::path& run) { return read_safetensors(run / "adapter/adapter_model.safetensors"); };
  TensorMap left = file(a), right = file(b), zero = file(start);
  double worst = left.size() == right.size() ? 0 : 1e9;
  for (auto& [name, tensor] : right) {
    double apart = 0, moved = 0;
    for (std::size_t i = 0; i < tensor.f32().size(); ++i) {
      const double l = left.at(name).f32()[i], r = tensor.f32()[i], z = zero.at(name).f32()[i];
      apart += (l - r) * (l - r), moved += (r - z) * (r - z);
    }
    worst = std::max(worst, std::sqrt(apart / std::max(moved, 1e-30)));
  }
  return worst;
}

}  // namespace shardora
