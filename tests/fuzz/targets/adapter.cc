// A PEFT adapter: what is read can be written, and is then read as the same.
#include "runtime/formats/peft_adapter.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

std::vector<std::string> modules_of(const PeftAdapter& adapter) {
  std::vector<std::string> modules = {"model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head"};
  for (const auto& [name, tensor] : adapter.tensors) modules.push_back(name.substr(0, name.rfind('.')));
  return modules;
}

void require_same_when_read_again(const PeftAdapter& adapter, const std::filesystem::path& folder) {
  write_peft_adapter(folder, adapter);
  const PeftAdapter again = read_peft_adapter(folder);
  require(again.tensors.size() == adapter.tensors.size(), "another number of tensors, read again");
  for (const auto& [name, tensor] : adapter.tensors) {
    const auto found = again.tensors.find(name);
    require(found != again.tensors.end(), "a tensor is gone");
    require(found->second.shape == tensor.shape && found->second.bytes == tensor.bytes, "another tensor, read again");
  }
  const PeftConfig &before = adapter.config, &after = again.config;
  require(after.rank == before.rank && after.alpha == before.alpha && after.rank_pattern == before.rank_pattern &&
              after.alpha_pattern == before.alpha_pattern && after.exclude_modules == before.exclude_modules,
          "another configuration, read again");
  if (!before.target_pattern.empty() && !before.layers_to_transform.empty()) return;  // written as names, for PEFT
  require(after.target_modules == before.target_modules && after.target_pattern == before.target_pattern,
          "other targets, read again");
}

}  // namespace

void adapter(std::string_view input) {
  const Scratch scratch;
  const std::vector<std::string_view> parts = split_parts(input, 2);
  scratch.put("adapter_config.json", parts[0]);
  if (parts.size() == 2) scratch.put("adapter_model.safetensors", safetensors_bytes(parts[1]));
  PeftAdapter adapter;
  if (!accepted([&] { adapter = read_peft_adapter(scratch.path()); })) return;
  accepted([&] { select_targets(adapter.config, modules_of(adapter)); });
  require(accepted([&] { require_same_when_read_again(adapter, scratch.path() / "again"); }), "refused, read again");
}

}  // namespace shardora::fuzz
