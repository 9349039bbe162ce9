// Where a model's weights come from, slice by slice: a rank reads only what it keeps.
#pragma once

#include <atomic>
#include <span>
#include <string>

#include "kernels/random.h"
#include "kernels/weight_matrix.h"
#include "runtime/formats/model_weights.h"
#include "runtime/model/placement.h"
#include "runtime/options.h"

namespace shardora {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // A range of a logical tensor on one axis (axis -1: all of it), in the type it is stored in.
  virtual HostTensor read(const NamedShape& tensor, int axis, Range range) = 0;
  // The same of a matrix (axis 0 or 1), a block of rows at a time. Lives no longer than the source and the tensor.
  virtual MatrixRows rows(const NamedShape& tensor, int axis, Range range) = 0;
};

// A Hugging Face folder.
class FolderWeights final : public WeightSource {
 public:
  explicit FolderWeights(const ModelWeights& weights) : weights_(weights) {}
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;
  MatrixRows rows(const NamedShape& tensor, int axis, Range range) override;

 private:
  const ModelWeights& weights_;
};

// model.init = random: normal(0, initializer_range), norms 1, biases 0; the same logical values at every split. Rows
// are made on the device.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(Backend& backend, double initializer_range, std::uint64_t seed)
      : backend_(backend), deviation_(initializer_range), seed_(seed) {}
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;
  MatrixRows rows(const NamedShape& tensor, int axis, Range range) override;

 private:
  void draw(const NamedShape& tensor, int axis, Range range, std::int64_t first, TensorView rows);
  Backend& backend_;
  double deviation_;
  std::uint64_t seed_;
};

// Another source until a signal asks to stop: then reading throws Error(kStoppedEarly), for a large model takes longer
// to read than a launcher waits.
class StoppableWeights final : public WeightSource {
 public:
  StoppableWeights(WeightSource& source, const std::atomic<bool>& stop_requested)
      : source_(source), stop_requested_(stop_requested) {}
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;
  MatrixRows rows(const NamedShape& tensor, int axis, Range range) override;

 private:
  void stop_if_asked() const;
  WeightSource& source_;                     // not owned
  const std::atomic<bool>& stop_requested_;  // not owned
};

// No values: for a dry run. It remembers how large the largest slice is.
class NoWeights final : public WeightSource {
 public:
  HostTensor read(const NamedShape& tensor, int axis, Range range) override;
  MatrixRows rows(const NamedShape& tensor, int axis, Range range) override;
  std::int64_t largest_bytes() const { return largest_bytes_; }  // in fp32

 private:
  std::int64_t largest_bytes_ = 0;
};

// Any float type to fp32.
std::vector<float> to_float32(HostTensor& tensor);
// The same, into device memory of the same number of elements. Done on return.
void copy_as_float32(Backend& backend, HostTensor& tensor, TensorView device);

// What frozen matrices are stored in; norms and biases stay fp32.
DType stored_dtype(const ModelOptions& options);
// The values that a frozen tensor of these would have: matrices rounded to the stored type.
void round_as_stored(const ModelOptions& options, const NamedShape& tensor, std::span<float> values);

}  // namespace shardora
