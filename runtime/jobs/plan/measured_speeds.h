// How fast this machine's processor does the operations of a step: FLOP/s or bytes/s on random values, in the fastest
// of a few passes, each shape once. Large shapes are measured in part, in rows and columns enough for full speed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kernels/attention.h"
#include "kernels/weight_matrix.h"
#include "runtime/jobs/plan/speeds.h"

namespace shardora {

// Normal(0, 1) values to time an operation on, in buffers that live as long as this.
class RandomOperands {
 public:
  explicit RandomOperands(Backend& backend) : backend_(backend) {}
  TensorView take(Shape shape, DType type = DType::kF32);
  // Causal attention, `shape` but for its length and sequences, which are those of the offsets: int32 [sequences + 1].
  AttentionBackward attention(const AttentionShape& shape, std::vector<std::int32_t> offsets, DType type);

 private:
  Backend& backend_;
  std::deque<DeviceBuffer> buffers_;
};

class MeasuredSpeeds final : public Speeds {
 public:
  // `options`: with all threads that the ranks have together. `like`: how frozen weights are kept.
  MeasuredSpeeds(const BackendOptions& options, int ranks, const FrozenMatrixPlan& like);

  double gemm(const GemmShape& shape, bool forward) override;
  double adapter(const GemmShape& shape, std::int64_t rank) override;
  double attention(const AttentionShape& shape, bool forward) override;
  double elementwise(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate) override;
  double loss(std::int64_t rows, std::int64_t columns) override;
  double memory() override;
  // Sums over a host's ranks through shared memory: no rank is there to measure them with.
  double link(int) override { return 5e9; }
  double latency() override { return 20e-6; }
  std::string processor() const;  // name, instruction set

 private:
  // `amount` of FLOPs or bytes a pass; a rank's part of that speed. The pass is made where the key is not known yet.
  using MakePass = std::function<std::function<void()>(RandomOperands& operands)>;
  double speed(const std::string& key, double amount, const MakePass& make);

  std::unique_ptr<Backend> backend_;
  int ranks_;
  FrozenMatrixPlan like_;
  std::map<std::string, double> known_;  // of all ranks together
};

}  // namespace shardora
