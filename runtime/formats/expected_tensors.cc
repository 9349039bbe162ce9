// The tensors of a model, in the order in which they are used.
#include "runtime/formats/model_folder.h"

namespace shardora {
namespace {

class List {
 public:
  void add(const std::string& name, std::vector<std::int64_t> shape) { tensors_.push_back({name, std::move(shape)}); }
  void add_linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    add(name + ".weight", {out, in});
    if (bias) add(name + ".bias", {out});
  }
  std::vector<NamedShape> take() { return std::move(tensors_); }

 private:
  std::vector<NamedShape> tensors_;
};

void add_layer(const ModelConfig& config, const std::string& layer, List& list) {
  const std::int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const std::int64_t queries = config.num_attention_heads * config.head_dim;
  const std::int64_t keys = config.num_key_value_heads * config.head_dim;
  list.add(layer + "input_layernorm.weight", {hidden});
  list.add_linear(layer + "self_attn.q_proj", queries, hidden, config.attention_bias);
  list.add_linear(layer + "self_attn.k_proj", keys, hidden, config.attention_bias);
  list.add_linear(layer + "self_attn.v_proj", keys, hidden, config.attention_bias);
  if (config.query_key_norm) {
    list.add(layer + "self_attn.q_norm.weight", {config.head_dim});
    list.add(layer + "self_attn.k_norm.weight", {config.head_dim});
  }
  list.add_linear(layer + "self_attn.o_proj", hidden, queries, config.attention_output_bias);
  list.add(layer + "post_attention_layernorm.weight", {hidden});
  list.add_linear(layer + "mlp.gate_proj", inner, hidden, config.mlp_bias);
  list.add_linear(layer + "mlp.up_proj", inner, hidden, config.mlp_bias);
  list.add_linear(layer + "mlp.down_proj", hidden, inner, config.mlp_bias);
}

}  // namespace

std::vector<NamedShape> expected_tensors(const ModelConfig& config) {
  List list;
  list.add("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    add_layer(config, fmt::format("model.layers.{}.", i), list);
  }
  list.add("model.norm.weight", {config.hidden_size});
  if (!config.tie_word_embeddings) list.add("lm_head.weight", {config.vocab_size, config.hidden_size});
  return list.take();
}

std::vector<std::string> linear_modules(const ModelConfig& config) {
  std::vector<std::string> modules;
  for (const NamedShape& tensor : expected_tensors(config)) {
    constexpr std::string_view kEnd = ".weight";
    if (!tensor.name.ends_with("_proj.weight")) continue;
    modules.push_back(tensor.name.substr(0, tensor.name.size() - kEnd.size()));
  }
  return modules;
}

}  // namespace shardora
