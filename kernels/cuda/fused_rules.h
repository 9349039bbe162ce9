// What cuDNN's attention serves of a run, and what it takes: the front end's rules (its sdpa_support_surface.h and
// scaled_dot_product_flash_attention.h) without its types. A test asks cuDNN itself and compares.
#pragma once

#include <fmt/core.h>

#include <bit>
#include <string>

#include "kernels/attention.h"

namespace shardora::cuda {

inline constexpr int kLeastCudnn = 90600;  // the first with grouped heads in packed sequences

// Where it would run. `capability`: 90 for 9.0; `cudnn`: 91900 for 9.19.0.
struct FusedDevice {
  int capability = 0;
  int cudnn = 0;
  std::int64_t most_workspace_bytes = 0;
};

// What one graph is made for. Unused places of the batch are sequences of length 0.
struct FusedShape {
  std::int64_t batch = 0, longest = 0;  // sequences, and tokens of the longest that fits
  std::int64_t tokens = 0;              // of all sequences, at most
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  AttentionMask mask;
  bool statistics = false;         // forward: lse is written
  bool padded_statistics = false;  // lse is [batch, heads, longest], not [tokens, heads]
  bool backward = false;           // the graph of dq, dk and dv
  bool deterministic = false;      // backward: the same bits each time
};

// Graphs are few: sequences up to a power of two, lengths up to 512 * 2^k.
inline std::int64_t batch_bucket(std::int64_t sequences) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(sequences)));
}
inline std::int64_t length_bucket(std::int64_t tokens) {
  constexpr std::int64_t kLeast = 512;
  return tokens <= kLeast ? kLeast : batch_bucket(tokens);
}

// Consumer and older devices share one family of kernels, which reads statistics of padded sequences only.
inline bool pads_statistics(int capability) { return capability / 10 == 8 || capability / 10 == 12; }

// The graph that serves `sequences` sequences of the plan.
inline FusedShape fused_shape(const AttentionPlan& plan, std::int64_t sequences, const FusedDevice& device) {
  const bool sees_all = plan.mask.kind == MaskKind::kWindow && plan.mask.window >= plan.longest;
  return {.batch = batch_bucket(sequences),
          .longest = length_bucket(plan.longest),
          .tokens = plan.most_tokens,
          .heads = plan.heads,
          .kv_heads = plan.kv_heads,
          .head_dim = plan.head_dim,
          .mask = sees_all ? AttentionMask{.kind = MaskKind::kCausal} : plan.mask,
          .statistics = true,
          .padded_statistics = plan.training && pads_statistics(device.capability)};
}

// Workspace of the backward pass that the front end lays out: the sums of dO * o; dq in fp32, or, for the same bits
// each time on Hopper, all of dS in bfloat16; dk and dv of every query head, to be summed over those that share a key
// head.
inline std::int64_t fused_workspace_bytes(const FusedShape& shape, int capability) {
  const std::int64_t padded = shape.batch * shape.longest;
  // Front end: sizes by tokens are not for this family of kernels, nor for odd multiples of 8.
  const bool by_tokens = !pads_statistics(capability) && shape.head_dim % 16 == 0;
  const std::int64_t rows = by_tokens ? shape.tokens : padded;
  constexpr std::int64_t kFp32 = 4, kBf16 = 2;
  std::int64_t bytes = rows * shape.heads * kFp32;
  if (shape.deterministic && capability / 10 == 9) {
    bytes += padded * shape.longest * shape.heads * kBf16;
  } else {
    bytes += rows * shape.heads * shape.head_dim * kFp32;
  }
  if (shape.kv_heads != shape.heads) bytes += 2 * rows * shape.heads * shape.head_dim * kFp32;
  return bytes;
}

// lse of padded sequences, beside the caller's own.
inline std::int64_t fused_statistics_bytes(const FusedShape& shape) {
  return shape.padded_statistics ? shape.batch * shape.heads * shape.longest * size_bytes(DType::kF32) : 0;
}

namespace fused_rules {

inline std::string of_tensors(const AttentionPlan& plan) {
  if (plan.dtype != DType::kBF16) return "activations are not bfloat16";
  if (plan.head_dim % 8 != 0) return fmt::format("head size {} is not a multiple of 8", plan.head_dim);
  return {};
}

inline std::string of_versions(const FusedDevice& device) {
  const int family = device.capability / 10;
  if (family != 8 && family != 9 && family != 10 && family != 12) {
    return fmt::format("compute capability {}.{} is not known here", family, device.capability % 10);
  }
  if (device.cudnn == 91000 || device.cudnn == 91001) return "cuDNN 9.10.0 and 9.10.1 have known errors";
  if (family == 10 && device.cudnn < 90900) return "cuDNN 9.9 or newer is needed on this device";
  if (pads_statistics(device.capability) && device.cudnn < 91801)
    return "cuDNN 9.18.1 or newer is needed on this device";
  return {};
}

inline std::string of_backward(const AttentionPlan& plan, bool deterministic, const FusedDevice& device) {
  const int family = device.capability / 10;
  const std::int64_t most = family == 9 ? 256 : 128;
  if (plan.head_dim > most) return fmt::format("head size {} is above {} in the backward pass", plan.head_dim, most);
  if (!deterministic) return {};
  if (pads_statistics(device.capability)) return "it has no deterministic backward pass on this device";
  if (family == 10 && device.cudnn < 91800) return "its deterministic backward pass needs cuDNN 9.18 on this device";
  return {};
}

inline std::string of_workspace(const AttentionPlan& plan, bool deterministic, const FusedDevice& device) {
  FusedShape shape = fused_shape(plan, plan.most_sequences, device);
  shape.deterministic = deterministic;
  const std::int64_t bytes = fused_workspace_bytes(shape, device.capability);
  if (bytes <= device.most_workspace_bytes) return {};
  constexpr double kGiB = 1 << 30;
  return fmt::format("{}its workspace of {:.1f} GiB for {} sequences of {} tokens is above the limit of {:.1f} GiB",
                     deterministic ? "deterministic, " : "", static_cast<double>(bytes) / kGiB, shape.batch,
                     shape.longest, static_cast<double>(device.most_workspace_bytes) / kGiB);
}

}  // namespace fused_rules

// Why cuDNN does not serve the calls of this plan; empty: it does. Decided once for a run, forward and backward alike.
inline std::string why_not_fused(const AttentionPlan& plan, bool deterministic, const FusedDevice& device) {
  constexpr std::int64_t kMostForward = 256;
  if (std::string why = fused_rules::of_tensors(plan); !why.empty()) return why;
  if (std::string why = fused_rules::of_versions(device); !why.empty()) return why;
  if (plan.head_dim > kMostForward) return fmt::format("head size {} is above {}", plan.head_dim, kMostForward);
  if (!plan.training) return {};
  if (std::string why = fused_rules::of_backward(plan, deterministic, device); !why.empty()) return why;
  return fused_rules::of_workspace(plan, deterministic, device);
}

}  // namespace shardora::cuda
