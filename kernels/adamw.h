// AdamW as torch computes it, on flat fp32 ranges, with the clip factor folded in.
//
//   g = gradient_scale * gradient
//   value -= learning_rate * weight_decay * value
//   moment1 = beta1 * moment1 + (1 - beta1) * g,   moment2 = beta2 * moment2 + (1 - beta2) * g^2
//   value -= learning_rate * (moment1 / (1 - beta1^step)) / (sqrt(moment2 / (1 - beta2^step)) + epsilon)
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct AdamW {
  TensorView value, gradient, moment1, moment2;  // [n] each
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  std::int64_t step = 1;  // from 1
  double gradient_scale = 1;
};
void adamw(Backend& backend, const AdamW& op);

}  // namespace shardora
