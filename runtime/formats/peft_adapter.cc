// A PEFT adapter folder: adapter_config.json and adapter_model.safetensors.
#include "runtime/formats/peft_adapter.h"

#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/formats/peft_parts.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr const char* kPickle = "adapter_model.bin";  // of older versions of PEFT
constexpr JsonLimits kConfigLimits = {.bytes = 16'000'000, .depth = 16, .values = 1'000'000};

// PEFT's names: A and B are modules with a weight, m is a parameter.
std::string name_in_file(const std::string& logical) {
  const bool magnitude = logical.ends_with(".lora_magnitude_vector");
  SHARDORA_CHECK(magnitude || logical.ends_with(".lora_A") || logical.ends_with(".lora_B"));
  return "base_model.model." + logical + (magnitude ? "" : ".weight");
}

}  // namespace

PeftAdapter read_peft_adapter(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / kConfig, tensors = folder / kTensors, pickle = folder / kPickle;
  PeftAdapter adapter;
  adapter.config = parse_peft_config(read_json(config, kConfigLimits), printable(config.string()));
  std::error_code ignored;
  if (!std::filesystem::exists(tensors, ignored) && std::filesystem::exists(pickle, ignored)) {
    refuse(ExitStatus::kBadInput,
           "{}: pickle is not read, expected {}: save the adapter anew with PEFT 0.7 or newer, as "
           "PeftModel.from_pretrained(base, folder).save_pretrained(new_folder) does",
           printable(pickle.string()), kTensors);
  }
  read_peft_tensors(tensors, adapter);
  require_peft_tensors(adapter.config, adapter.tensors, printable(tensors.string()));
  return adapter;
}

void write_peft_adapter(const std::filesystem::path& folder, const PeftAdapter& adapter) {
  require_peft_tensors(adapter.config, adapter.tensors, printable(folder.string()));
  TensorMap tensors;
  for (const auto& [name, tensor] : adapter.tensors) {
    SHARDORA_CHECK(tensor.dtype == DType::kF32);
    tensors.emplace(name_in_file(name), tensor);
  }
  make_folder_in(folder);  // of a checkpoint, perhaps, whose run's folder was removed: it must not come back
  write_safetensors(folder / kTensors, tensors, {{"format", "pt"}});
  write_new_file(folder / kConfig, peft_config_text(adapter.config, adapter.tensors));
}

}  // namespace shardora
