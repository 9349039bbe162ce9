// How fast the operations of a training step are on a backend, measured: FLOP/s or bytes/s on random values, in the
// fastest of a few passes. Large shapes are measured in part, in rows and columns enough for full speed.
#pragma once

#include "kernels/weight_matrix.h"
#include "runtime/jobs/plan/occupancy.h"
#include "runtime/jobs/plan/step_work.h"

namespace shardora {

// `spent`: is added to. `like`: how frozen weights are kept.
double timed_product(Backend& backend, MeasuringTime& spent, const FrozenMatrixPlan& like, const ProductShape& shape,
                     bool forward);
double timed_adapter(Backend& backend, MeasuringTime& spent, const ProductShape& shape, std::int64_t rank);
double timed_attention(Backend& backend, MeasuringTime& spent, const AttentionShape& shape, bool forward);
double timed_elementwise(Backend& backend, MeasuringTime& spent, std::int64_t rows, std::int64_t hidden,
                         std::int64_t intermediate);
double timed_loss(Backend& backend, MeasuringTime& spent, std::int64_t rows, std::int64_t columns);
double timed_optimizer(Backend& backend, MeasuringTime& spent);

}  // namespace shardora
