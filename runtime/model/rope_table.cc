#include "runtime/model/rope_table.h"

#include <cmath>
#include <numbers>

namespace shardora {
namespace {

float llama3_scaled(float frequency, const ModelConfig& config) {
  const auto original = static_cast<float>(config.rope_original_max_position_embeddings);
  const auto factor = static_cast<float>(config.rope_factor);
  const auto low = static_cast<float>(config.rope_low_freq_factor),
             high = static_cast<float>(config.rope_high_freq_factor);
  const float wavelength = 2.0F * std::numbers::pi_v<float> / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const float smooth = (original / wavelength - low) / (high - low);
  return (1.0F - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> rope_inverse_frequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    float frequency = 1.0F / std::pow(static_cast<float>(config.rope_theta), exponent);
    if (config.rope_scaling == RopeScaling::kLinear) frequency /= static_cast<float>(config.rope_factor);
    if (config.rope_scaling == RopeScaling::kLlama3) frequency = llama3_scaled(frequency, config);
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTable make_rope_table(const ModelConfig& config, std::int64_t positions) {
  const std::vector<float> frequencies = rope_inverse_frequencies(config);
  RopeTable table;
  table.cosines.reserve(static_cast<std::size_t>(positions) * frequencies.size());
  table.sines.reserve(table.cosines.capacity());
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(position) * frequency;
      table.cosines.push_back(std::cos(angle));
      table.sines.push_back(std::sin(angle));
    }
  }
  return table;
}

}  // namespace shardora
