// The weights of a Hugging Face model folder: *.safetensors, one file or many with an index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/formats/model_config.h"
#include "runtime/formats/safetensors.h"

namespace shardora {

// The logical tensors that a model of this config has on disk, with their shapes: the strict list that loading,
// exporting and merging use. The head is absent where it is tied.
struct NamedShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
std::vector<NamedShape> expected_tensors(const ModelConfig& config);
// The linear layers that can be adapted, by name.
std::vector<std::string> linear_modules(const ModelConfig& config);

// The weights of a folder, opened and checked against the config: nothing missing, nothing extra (buffers such as
// rotary_emb.inv_freq and a tied lm_head.weight are known and skipped), nothing misshapen, all before bytes are read.
class ModelWeights {
 public:
  ModelWeights(const std::filesystem::path& folder, const ModelConfig& config);
  const SafetensorsFile& file_of(const std::string& tensor) const;
  const std::vector<std::string>& names() const { return names_; }  // in expected_tensors order
  // File layout, for writers that mirror it: file name -> tensors in the order of their bytes.
  std::vector<std::pair<std::string, std::vector<std::string>>> layout() const;
  // Whether the model's tensor `name` has these values, in the `part`-th of `parts` stretches of rows. The head of a
  // tied model is the one that is stored, else the embedding.
  bool has_values(const std::string& name, const StoredTensor& other, int part = 0, int parts = 1) const;
  // Whether a tied model stores a head that, in this part, is not its embedding.
  bool has_another_head(int part = 0, int parts = 1) const;
  std::string fingerprint() const;  // of names, shapes, types and sizes, for the handshake; reads no weights

 private:
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_index_;
  std::vector<std::string> names_;
  const SafetensorsFile* tied_head_ = nullptr;  // of files_: where a tied model stores its head
};

// Where has_another_head(): such a model has the head that is stored. Opens its weights anew, and returns a line that
// says so.
std::string use_stored_head(const std::filesystem::path& folder, ModelConfig& config,
                            std::optional<ModelWeights>& weights);

}  // namespace shardora
