// The calls of one plan by a fused library: a graph for each power of two of sequences, all made at once, and what they
// need on the device. Nothing is made or allocated in a call.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/fused_library.h"
#include "kernels/cuda/fused_offsets.h"

namespace shardora::cuda {

class FusedAttention {
 public:
  FusedAttention(Backend& backend, FusedLibrary& library, const AttentionPlan& plan, bool deterministic,
                 const FusedDevice& device);
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;

  const AttentionPlan& plan() const { return plan_; }
  // What the graphs ask for, to be lent in use_workspace() before the first call; plans of one stream may share it.
  std::int64_t workspace_bytes() const { return workspace_bytes_; }
  void use_workspace(void* workspace) { workspace_ = workspace; }

  // Whether the plan covers this call.
  bool covers(const AttentionForward& op) const;
  void forward(const AttentionForward& op);
  void backward(const AttentionBackward& op);

 private:
  struct Bucket {
    FusedShape shape;
    std::unique_ptr<FusedGraph> forward, backward;  // backward: null unless training
  };
  Bucket& bucket_of(const AttentionForward& op);
  FusedArguments arguments_of(const Bucket& bucket, const AttentionForward& op);

  Backend& backend_;  // not owned
  AttentionPlan plan_;
  std::vector<Bucket> buckets_;  // 1, 2, 4, … sequences
  std::int64_t workspace_bytes_ = 0;
  void* workspace_ = nullptr;  // not owned
  DeviceBuffer offsets_memory_, padded_lse_;
  FusedOffsets offsets_;
};

}  // namespace shardora::cuda
