#include "kernels/cuda/fused_attention.h"

#include <algorithm>

#include "kernels/cuda/cuda_backend.h"

namespace shardora::cuda {

FusedAttention::FusedAttention(Backend& backend, FusedLibrary& library, const AttentionPlan& plan, bool deterministic,
                               const FusedDevice& device)
    : backend_(backend), plan_(plan) {
  for (std::int64_t sequences = 1; sequences <= batch_bucket(plan.most_sequences); sequences *= 2) {
    FusedShape shape = fused_shape(plan, sequences, device);
    Bucket& bucket = buckets_.emplace_back(Bucket{.shape = shape, .forward = library.make_graph(shape)});
    workspace_bytes_ = std::max(workspace_bytes_, bucket.forward->workspace_bytes());
    if (!plan.training) continue;
    shape.backward = true;
    shape.deterministic = deterministic;
    bucket.backward = library.make_graph(shape);
    workspace_bytes_ = std::max(workspace_bytes_, bucket.backward->workspace_bytes());
  }
  const FusedShape& largest = buckets_.back().shape;
  const std::int64_t places = largest.batch + 1;
  offsets_memory_ = DeviceBuffer(backend, places * 3 * size_bytes(DType::kI64) + places * size_bytes(DType::kI32));
  auto* const starts = static_cast<std::int64_t*>(offsets_memory_.data());
  offsets_ = {.lengths = reinterpret_cast<std::int32_t*>(starts + 3 * places),
              .query_starts = starts,
              .key_starts = starts + places,
              .lse_starts = starts + 2 * places};
  if (largest.padded_statistics) {
    padded_lse_ = DeviceBuffer(backend, fused_statistics_bytes(largest));
  }
}

bool FusedAttention::covers(const AttentionForward& op) const {
  const std::int64_t tokens = op.q.size(0), sequences = op.query_offsets.size(0) - 1;
  return op.q.dtype == plan_.dtype && op.q.size(1) == plan_.heads && op.k.size(1) == plan_.kv_heads &&
         op.q.size(2) == plan_.head_dim && op.mask == plan_.mask && op.query_offsets.data == op.key_offsets.data &&
         tokens == op.k.size(0) && tokens <= plan_.most_tokens && sequences >= 1 && sequences <= plan_.most_sequences &&
         (op.longest > 0 ? op.longest : tokens) <= plan_.longest;
}

FusedAttention::Bucket& FusedAttention::bucket_of(const AttentionForward& op) {
  const std::int64_t batch = batch_bucket(op.query_offsets.size(0) - 1);
  return *std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& b) { return b.shape.batch == batch; });
}

FusedArguments FusedAttention::arguments_of(const Bucket& bucket, const AttentionForward& op) {
  write_fused_offsets(stream_of(backend_), bucket.shape, op.query_offsets.as<std::int32_t>(),
                      op.query_offsets.size(0) - 1, offsets_);
  return {.q = op.q.data,
          .k = op.k.data,
          .v = op.v.data,
          .o = op.o.data,
          .lse = bucket.shape.padded_statistics ? padded_lse_.data() : op.lse.data,
          .lengths = offsets_.lengths,
          .query_starts = offsets_.query_starts,
          .key_starts = offsets_.key_starts,
          .lse_starts = offsets_.lse_starts,
          .scale = op.scale,
          .workspace = workspace_};
}

void FusedAttention::forward(const AttentionForward& op) {
  if (op.q.size(0) == 0) return;
  Bucket& bucket = bucket_of(op);
  bucket.forward->run(arguments_of(bucket, op));
  if (!bucket.shape.padded_statistics) return;
  pack_lse(stream_of(backend_), bucket.shape, offsets_, static_cast<const float*>(padded_lse_.data()),
           op.lse.as<float>());
}

void FusedAttention::backward(const AttentionBackward& op) {
  if (op.forward.q.size(0) == 0) return;
  Bucket& bucket = bucket_of(op.forward);
  SHARDORA_CHECK(bucket.backward != nullptr);
  FusedArguments arguments = arguments_of(bucket, op.forward);
  arguments.d_o = op.d_o.data;
  arguments.dq = op.dq.data;
  arguments.dk = op.dk.data;
  arguments.dv = op.dv.data;
  if (bucket.shape.padded_statistics) {
    pad_lse(stream_of(backend_), bucket.shape, offsets_, op.forward.lse.as<float>(),
            static_cast<float*>(padded_lse_.data()));
  }
  bucket.backward->run(arguments);
}

}  // namespace shardora::cuda
