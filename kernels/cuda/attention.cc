#include "kernels/cuda/attention.h"

#include <algorithm>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/flash_attention.h"

namespace shardora::cuda {
namespace {

// A workspace of more than this share of the device is better spent on tokens.
constexpr std::int64_t kWorkspaceShare = 8;

bool same_but_for_size(const AttentionPlan& a, const AttentionPlan& b) {
  return a.heads == b.heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim && a.dtype == b.dtype &&
         a.mask == b.mask;
}

bool fits_into(const AttentionPlan& a, const AttentionPlan& b) {
  return same_but_for_size(a, b) && a.most_tokens <= b.most_tokens && a.most_sequences <= b.most_sequences &&
         a.longest <= b.longest && (b.training || !a.training);
}

}  // namespace

AttentionChoice::AttentionChoice(const std::string& wanted, cudaStream_t stream, const cudaDeviceProp& properties)
    : only_cudnn_(wanted == "cudnn"), why_own_("as asked for") {
  SHARDORA_CHECK(wanted == "auto" || wanted == "cudnn" || wanted == "own");
  if (wanted == "own") return;
  library_ = make_fused_library(stream, properties, why_own_);
  if (only_cudnn_ && !library_) {
    refuse(ExitStatus::kUnavailable,
           "parallel.attention = cudnn: {}; needed cuDNN {}.{} or newer; install it where the loader looks "
           "(LD_LIBRARY_PATH), or set parallel.attention = auto",
           why_own_, kLeastCudnn / 10000, kLeastCudnn % 10000 / 100);
  }
  if (!library_) return;
  device_ = {.capability = properties.major * 10 + properties.minor,
             .cudnn = library_->version(),
             .most_workspace_bytes = static_cast<std::int64_t>(properties.totalGlobalMem) / kWorkspaceShare};
}

AttentionChoice::~AttentionChoice() = default;

std::string AttentionChoice::why_not(const AttentionPlan& plan, bool deterministic) const {
  return library_ ? why_not_fused(plan, deterministic, device_) : why_own_;
}

void AttentionChoice::prepare(Backend& backend, const AttentionPlan& plan, bool deterministic) {
  if (plan.most_tokens == 0 || plan.most_sequences == 0) return;
  if (std::any_of(fused_.begin(), fused_.end(), [&](const auto& f) { return fits_into(plan, f->plan()); })) return;
  why_own_ = why_not(plan, deterministic);
  if (!why_own_.empty()) {
    if (only_cudnn_) {
      refuse(ExitStatus::kUnavailable,
             "parallel.attention = cudnn: {} does not serve this run: {}; set parallel.attention = auto",
             library_->description(), why_own_);
    }
    return;
  }
  std::erase_if(fused_, [&](const auto& f) { return same_but_for_size(plan, f->plan()); });
  fused_.push_back(std::make_unique<FusedAttention>(backend, *library_, plan, deterministic, device_));
  if (fused_.back()->workspace_bytes() > workspace_.bytes()) {
    workspace_ = {};  // the smaller one first: both need not fit
    workspace_ = DeviceBuffer(backend, fused_.back()->workspace_bytes());
  }
  for (const auto& fused : fused_) fused->use_workspace(workspace_.data());
}

std::int64_t AttentionChoice::expected_bytes(const AttentionPlan& plan, bool deterministic) const {
  if (!why_not(plan, deterministic).empty()) return 0;
  FusedShape shape = fused_shape(plan, plan.most_sequences, device_);
  shape.deterministic = deterministic;
  return fused_statistics_bytes(shape) + (plan.training ? fused_workspace_bytes(shape, device_.capability) : 0);
}

FusedAttention* AttentionChoice::fused_for(const AttentionForward& op) {
  const auto found = std::find_if(fused_.begin(), fused_.end(), [&](const auto& fused) { return fused->covers(op); });
  return found == fused_.end() ? nullptr : found->get();
}

std::string AttentionChoice::description() const {
  return why_own_.empty() ? "attention by " + library_->description()
                          : fmt::format("attention by own kernels ({})", why_own_);
}

void prepare_attention(Backend& backend, const AttentionPlan& plan) {
  cuda_backend(backend).attention().prepare(backend, plan, cuda_backend(backend).deterministic());
}

std::int64_t attention_bytes(Backend& backend, const AttentionPlan& plan) {
  return cuda_backend(backend).attention().expected_bytes(plan, cuda_backend(backend).deterministic());
}

void attention_forward(Backend& backend, const AttentionForward& op) {
  FusedAttention* const fused = cuda_backend(backend).attention().fused_for(op);
  fused != nullptr ? fused->forward(op) : own_attention_forward(backend, op);
}

void attention_backward(Backend& backend, const AttentionBackward& op) {
  FusedAttention* const fused = cuda_backend(backend).attention().fused_for(op.forward);
  fused != nullptr ? fused->backward(op) : own_attention_backward(backend, op);
}

}  // namespace shardora::cuda
