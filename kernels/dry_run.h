// A backend without memory or arithmetic: a step run on it shows which buffers the real one would need.
#pragma once

#include <memory>

#include "kernels/weight_matrix.h"

namespace shardora {

std::unique_ptr<Backend> make_dry_run_backend();
std::unique_ptr<WeightMatrix> make_dry_run_matrix(const FrozenMatrixPlan& plan);  // bytes(): one fp32 copy

}  // namespace shardora
