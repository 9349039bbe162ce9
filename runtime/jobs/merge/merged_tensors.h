// The tensors of base and adapter folded together, as bytes of the type they are stored in, a block of rows at a time.
#pragma once

#include "runtime/adapter/folded_modules.h"
#include "runtime/formats/model_writer.h"
#include "runtime/session/loaded_model.h"

namespace shardora {

class MergedTensors {
 public:
  // `files` and `options` must outlive it. Throws Error(kBadInput) where the adapter does not fit the model.
  MergedTensors(Backend& backend, const ModelFiles& files, const ModelOptions& options)
      : backend_(backend), files_(files), options_(options), modules_(folded_modules(files.config, *files.adapter)) {}
  std::int64_t modules() const { return std::ssize(modules_); }
  // `dtype`: "F32", "BF16" or "F16". What the adapter leaves alone and keeps its type is copied, bit by bit.
  void write(const NamedShape& tensor, const std::string& dtype, const Sink& sink);

 private:
  const FoldedModule* module_of(const NamedShape& tensor) const;  // null: none
  void write_bytes(TensorView rows, const std::string& dtype, const Sink& sink);

  Backend& backend_;
  const ModelFiles& files_;
  const ModelOptions& options_;
  std::map<std::string, FoldedModule> modules_;
  std::vector<std::uint16_t> bits_;  // of one block
};

}  // namespace shardora
