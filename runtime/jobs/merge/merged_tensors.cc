#include "runtime/jobs/merge/merged_tensors.h"

#include "kernels/elementwise.h"
#include "runtime/adapter/merge.h"
#include "runtime/model/stored_rows.h"

namespace shardora {

void MergedTensors::write(const NamedShape& tensor, const std::string& dtype, const Sink& sink) {
  const SafetensorsFile& file = files_.weights->file_of(tensor.name);
  StoredRows stored(backend_, file, tensor);
  const auto for_each_block = [&](const auto& use) {
    for (std::int64_t first = 0; first < stored.rows(); first += stored.block_rows()) use(first);
  };
  // What the adapter was trained on.
  const auto base = [&](std::int64_t first) {
    const TensorView rows = stored.read(first);
    round_as_stored(options_, tensor, rows.span<float>());
    return rows;
  };
  const FoldedModule* const module = module_of(tensor);
  const bool rounded = stored_dtype(options_) == DType::kBF16 && tensor.shape.size() == 2;
  if (module == nullptr) {
    const bool copied = file.entry(tensor.name).dtype == dtype && (!rounded || dtype == "BF16");
    return for_each_block([&](std::int64_t first) {
      if (copied) return sink(stored.read_bytes(first));
      write_bytes(base(first), dtype, sink);
    });
  }
  LayerMerge layer(backend_, *module);
  if (layer.needs_measuring()) for_each_block([&](std::int64_t first) { layer.measure(first, base(first)); });
  for_each_block([&](std::int64_t first) {
    const TensorView rows = base(first);
    layer.fold(first, rows);
    write_bytes(rows, dtype, sink);
  });
}

const FoldedModule* MergedTensors::module_of(const NamedShape& tensor) const {
  if (!tensor.name.ends_with(".weight")) return nullptr;
  const auto found = modules_.find(tensor.name.substr(0, tensor.name.rfind('.')));
  return found == modules_.end() ? nullptr : &found->second;
}

void MergedTensors::write_bytes(TensorView rows, const std::string& dtype, const Sink& sink) {
  const std::span<const float> values = rows.span<float>();
  if (dtype == "F32") return sink(std::as_bytes(values));
  if (dtype != "BF16") return sink(to_storage(values, dtype));
  bits_.resize(values.size());
  convert(backend_, {.from = rows, .to = {bits_.data(), DType::kBF16, rows.shape}});
  sink(std::as_bytes(std::span(bits_)));
}

}  // namespace shardora
