// Draws a token from softmax(logits / temperature), cut as transformers does, in its order:
//
//   top_k   tokens below the k-th largest score go; those that equal it stay
//   top_p   of what is left, from the most probable down (equal scores: the lower id first), a token stays while those
//           before it have less than top_p of the probability; the first always stays
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shardora {

struct SamplingRule {
  double temperature = 1;  // above 0
  std::int64_t top_k = 0;  // 0: all
  double top_p = 1;        // above 0; 1: all
};

class TokenSampler {
 public:
  explicit TokenSampler(const SamplingRule& rule) : rule_(rule) {}
  struct Choice {
    std::int32_t token = 0;
    float score = 0;    // logit / temperature
    double weight = 0;  // exp(score - largest score)
  };
  // What may be drawn. Valid until the next call.
  std::span<const Choice> choices(std::span<const float> logits);
  // The choice in whose share of the whole weight `uniform`, in [0, 1), falls.
  std::int32_t draw(std::span<const float> logits, double uniform);

 private:
  void keep_top_k();
  void keep_top_p();
  SamplingRule rule_;
  std::vector<Choice> choices_;
  std::vector<float> scores_;
};

}  // namespace shardora
