// Special tokens, as config.json and generation_config.json name them.
#include <nlohmann/json.hpp>

#include "runtime/formats/model_config_parts.h"
#include "runtime/system/printable.h"

namespace shardora {

std::vector<std::int64_t> parse_token_ids(const JsonFields& fields, std::string_view key) {
  const nlohmann::ordered_json& value = *fields.find(key);
  if (!value.is_array()) return {fields.integer(key, 0, kMaxToken)};
  std::vector<std::int64_t> tokens;
  for (const nlohmann::ordered_json& token : value) {
    if (!token.is_number_unsigned() || token.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxToken)) {
      fields.refuse_value(key, "a token id or a list of them");
    }
    tokens.push_back(token.get<std::int64_t>());
  }
  return tokens;
}

std::vector<std::int64_t> read_stop_tokens(const std::filesystem::path& folder, const ModelConfig& config) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return config.eos_token_ids;
  const nlohmann::ordered_json document = read_json(path);
  const JsonFields fields(document, printable(path.string()));
  return fields.has("eos_token_id") ? parse_token_ids(fields, "eos_token_id") : config.eos_token_ids;
}

}  // namespace shardora
