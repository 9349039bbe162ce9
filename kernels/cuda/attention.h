// Which attention serves a call: a fused library's where a plan was prepared for it, else our own kernels. Decided when
// a plan is prepared, from the plan, the device and the library's version, never by measuring: the same in the forward
// and the backward pass, and in every run on such a machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/fused_attention.h"

namespace shardora::cuda {

class AttentionChoice {
 public:
  // `wanted`: auto, cudnn or own. Throws Error(kUnavailable) where cudnn is wanted and is not there.
  AttentionChoice(const std::string& wanted, cudaStream_t stream, const cudaDeviceProp& properties);
  ~AttentionChoice();
  AttentionChoice(const AttentionChoice&) = delete;
  AttentionChoice& operator=(const AttentionChoice&) = delete;

  void prepare(Backend& backend, const AttentionPlan& plan, bool deterministic);
  std::int64_t expected_bytes(const AttentionPlan& plan, bool deterministic) const;
  FusedAttention* fused_for(const AttentionForward& op);  // null: our own kernels
  // "attention by cuDNN 9.19.0", "attention by own kernels (libcudnn.so.9 not found)"; as last prepared.
  std::string description() const;

 private:
  std::string why_not(const AttentionPlan& plan, bool deterministic) const;

  bool only_cudnn_;
  std::unique_ptr<FusedLibrary> library_;  // null: our own kernels serve all
  std::string why_own_;                    // empty while the library serves
  FusedDevice device_;
  DeviceBuffer workspace_;  // of all plans
  std::vector<std::unique_ptr<FusedAttention>> fused_;
};

}  // namespace shardora::cuda
