// Where a model's weights come from, slice by slice: a rank reads only what it keeps.
#pragma once

#include <string>

#include "kernels/random.h"
#include "runtime/io/model_folder.h"
#include "runtime/model/placement.h"

namespace shardora {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // A range of a logical tensor on one axis (axis -1: all of it), in the type it is stored in.
  virtual HostTensor read(const NamedShape& tensor, int axis, Range range) = 0;
};

// A Hugging Face folder.
class FolderWeights final : public WeightSource {
 public:
  explicit FolderWeights(const ModelWeights& weights) : weights_(weights) {}
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;

 private:
  const ModelWeights& weights_;
};

// model.init = random: normal(0, initializer_range), norms 1, biases 0; the same logical values at every split.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(Backend& backend, double initializer_range, std::uint64_t seed)
      : backend_(backend), deviation_(initializer_range), seed_(seed) {}
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;

 private:
  Backend& backend_;
  double deviation_;
  std::uint64_t seed_;
};

// No values: for a rehearsal.
class NoWeights final : public WeightSource {
 public:
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;
};

// Any float type to fp32.
std::vector<float> to_float32(HostTensor& tensor);

}  // namespace shardora
