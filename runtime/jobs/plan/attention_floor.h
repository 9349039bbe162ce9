// The attention of one layer as a floor: the backend's own operations, both ways, on random values of a micro-batch's
// sequences.
#pragma once

#include "kernels/attention.h"
#include "kernels/random.h"
#include "runtime/data/batch.h"

namespace shardora {

// Normal(0, 1) values, as many, of that type.
DeviceBuffer random_values(Backend& backend, RandomKey key, std::int64_t elements, DType type);

class AttentionFloor {
 public:
  struct Sizes {
    std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // of this rank
    DType type = DType::kBF16;
  };
  AttentionFloor(Backend& backend, const Sizes& sizes, const Batch& batch);
  void forward();
  void backward();
  void run() { forward(), backward(); }
  double squared_lengths() const { return squared_lengths_; }  // sum over the sequences

 private:
  TensorView take(std::int64_t heads, DType type, bool random);

  Backend& backend_;
  Sizes sizes_;
  std::int64_t tokens_;
  double squared_lengths_ = 0;
  std::vector<DeviceBuffer> buffers_;
  AttentionBackward op_;
};

}  // namespace shardora
