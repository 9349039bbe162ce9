// A PEFT adapter folder: adapter_config.json and adapter_model.safetensors.
#include "runtime/formats/peft_adapter.h"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "runtime/formats/float_convert.h"
#include "runtime/formats/json.h"
#include "runtime/formats/module_pattern.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
// The tensors of a PEFT adapter: their many spellings in, one spelling out, and what belongs together.

namespace {

constexpr std::string_view kA = ".lora_A", kB = ".lora_B", kMagnitude = ".lora_magnitude_vector";

struct Spelling {
  std::string_view in_file, logical;
};
constexpr std::array<Spelling, 11> kSpellings = {{{".lora_A.weight", kA},
                                                  {".lora_A.default.weight", kA},
                                                  {".lora_B.weight", kB},
                                                  {".lora_B.default.weight", kB},
                                                  {".lora_magnitude_vector", kMagnitude},
                                                  {".lora_magnitude_vector.weight", kMagnitude},
                                                  {".lora_magnitude_vector.default", kMagnitude},
                                                  {".lora_magnitude_vector.default.weight", kMagnitude},
                                                  {".magnitude", kMagnitude},
                                                  {".dora_scale", kMagnitude},
                                                  {".weight_m_wdecomp.weight", kMagnitude}}};

// "<module>.lora_A" and so on; nothing where the name is none of an adapter's.
std::optional<std::string> logical_name(std::string_view name) {
  if (!name.starts_with(kPeftPrefix)) return std::nullopt;
  name.remove_prefix(kPeftPrefix.size());
  for (const Spelling& spelling : kSpellings) {
    if (!name.ends_with(spelling.in_file) || name.size() == spelling.in_file.size()) continue;
    name.remove_suffix(spelling.in_file.size());
    return std::string(name) + std::string(spelling.logical);
  }
  return std::nullopt;
}

bool may_be_the_bases(const std::string& name) {
  return name.starts_with(kPeftPrefix) && name.find("lora_") == std::string::npos &&
         (name.ends_with(".weight") || name.ends_with(".bias"));
}

// Some tools keep m as a column.
void drop_column_axis(std::vector<std::int64_t>& shape) {
  if (shape.size() == 2 && shape[1] == 1) shape.pop_back();
}

HostTensor read_as_f32(const SafetensorsFile& file, const std::string& name) {
  const TensorEntry& entry = file.entry(name);
  std::vector<std::byte> bytes(static_cast<std::size_t>(entry.end - entry.begin));
  file.read(name, bytes);
  HostTensor tensor;
  tensor.shape = entry.shape;
  if (!convert_to_f32(entry.dtype, bytes, tensor.bytes)) {
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' has dtype {}, expected F32, BF16, F16 or F64",
           printable(file.path().string()), printable(name), entry.dtype);
  }
  for (const float value : tensor.f32()) {
    if (std::isfinite(value)) continue;
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' holds a value that is not finite; use another adapter",
           printable(file.path().string()), printable(name));
  }
  return tensor;
}

std::int64_t rank_of(const PeftConfig& config, const std::vector<ModulePattern>& patterns, const std::string& module) {
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    if (patterns[i].matches(module)) return config.rank_pattern[i].second;
  }
  return config.rank;
}

// One module's tensors against its rank and each other.
void require_module(const PeftConfig& config, const TensorMap& tensors, const std::string& module, std::int64_t rank,
                    const std::string& where) {
  const auto shape_of = [&](std::string_view part) -> const std::vector<std::int64_t>* {
    const auto found = tensors.find(module + std::string(part));
    return found == tensors.end() ? nullptr : &found->second.shape;
  };
  const std::string shown = printable(module);
  const auto* a = shape_of(kA);
  const auto* b = shape_of(kB);
  const auto* magnitude = shape_of(kMagnitude);
  if (a == nullptr || b == nullptr) {
    refuse(ExitStatus::kBadInput, "{}: module '{}' has no {}; both lora_A and lora_B are expected", where, shown,
           a == nullptr ? "lora_A" : "lora_B");
  }
  if (a->size() != 2 || b->size() != 2 || (*a)[0] != rank || (*b)[1] != rank) {
    refuse(ExitStatus::kBadInput,
           "{}: module '{}' does not have lora_A [{}, in] and lora_B [out, {}], as its config says", where, shown, rank,
           rank);
  }
  if (config.use_dora != (magnitude != nullptr)) {
    refuse(ExitStatus::kBadInput, "{}: module '{}' has {} magnitude vector, but use_dora is {}", where, shown,
           magnitude == nullptr ? "no" : "a", config.use_dora);
  }
  const std::int64_t width = config.magnitude_axis == "input" ? (*a)[1] : (*b)[0];
  if (magnitude != nullptr && *magnitude != std::vector<std::int64_t>{width}) {
    refuse(ExitStatus::kBadInput, "{}: module '{}' has a magnitude vector of another shape than [{}]", where, shown,
           width);
  }
}

void read_peft_tensors(const std::filesystem::path& path, PeftAdapter& adapter) {
  const SafetensorsFile file(path);
  adapter.file = path;
  for (const auto& [name, entry] : file.tensors()) {
    const std::optional<std::string> logical = logical_name(name);
    if (!logical && may_be_the_bases(name)) {
      adapter.copies.push_back(name);
      continue;
    }
    if (!logical) {
      refuse(ExitStatus::kBadInput, "{}: tensor '{}' is not part of a LoRA or DoRA adapter of linear layers",
             printable(path.string()), printable(name));
    }
    HostTensor tensor = read_as_f32(file, name);
    if (logical->ends_with(kMagnitude)) drop_column_axis(tensor.shape);
    if (!adapter.tensors.emplace(*logical, std::move(tensor)).second) {
      refuse(ExitStatus::kBadInput, "{}: tensor '{}' is there twice, in two spellings", printable(path.string()),
             printable(name));
    }
  }
}

void require_peft_tensors(const PeftConfig& config, const TensorMap& tensors, const std::string& where) {
  if (tensors.empty()) refuse(ExitStatus::kBadInput, "{}: holds no tensor of an adapter", where);
  std::vector<ModulePattern> patterns;
  patterns.reserve(config.rank_pattern.size());
  for (const auto& [pattern, rank] : config.rank_pattern) {
    patterns.emplace_back(pattern, ModulePattern::Match::kSuffix, where, ExitStatus::kBadInput);
  }
  std::set<std::string> modules;
  for (const auto& [name, tensor] : tensors) modules.insert(name.substr(0, name.rfind('.')));
  for (const std::string& module : modules) {
    require_module(config, tensors, module, rank_of(config, patterns, module), where);
  }
}

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr const char* kPickle = "adapter_model.bin";  // of older versions of PEFT
constexpr JsonLimits kAdapterConfigLimits = {.bytes = 16'000'000, .depth = 16, .values = 1'000'000};

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
  adapter.config = parse_peft_config(read_json(config, kAdapterConfigLimits), printable(config.string()));
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
