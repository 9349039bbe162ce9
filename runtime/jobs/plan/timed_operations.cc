#include "runtime/jobs/plan/timed_operations.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"
#include "runtime/jobs/plan/attention_floor.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

constexpr double kLeastSeconds = 0.05, kMostSeconds = 1;
constexpr int kLeastPasses = 3;
constexpr double kMostElements = 64e6;  // of a weight: 256 MB
constexpr double kMostProduct = 20e9;   // rows * out * in: a fifth of a second

// Seconds of one pass: the shortest, as other work on the machine only ever adds; once a first has made what it needs.
// On a busy machine the shortest of a few may have been disturbed as well: it takes passes until two agree on it.
double shortest_seconds(Backend& backend, MeasuringTime& spent, const std::function<void()>& pass) {
  pass();
  backend.synchronize();
  std::vector<double> passes;
  const double first = monotonic_seconds(), processor_first = thread_seconds();
  double now = first;
  const auto enough = [&] {
    if (std::ssize(passes) < kLeastPasses || now - first < kLeastSeconds) return false;
    return now - first >= kMostSeconds || shortest_is_reproduced(passes);
  };
  while (!enough()) {
    const double begin = monotonic_seconds();
    pass();
    backend.synchronize();
    now = monotonic_seconds();
    passes.push_back(now - begin);
  }
  spent.add(passes, thread_seconds() - processor_first);
  return *std::min_element(passes.begin(), passes.end());
}

// Random buffers that live as long as a measurement.
class Values {
 public:
  explicit Values(Backend& backend) : backend_(backend) {}
  TensorView take(Shape shape) {
    buffers_.push_back(
        random_values(backend_, random_key(random_key(4, "plan"), buffers_.size()), shape.elements(), DType::kF32));
    return {buffers_.back().data(), DType::kF32, shape};
  }

 private:
  Backend& backend_;
  std::deque<DeviceBuffer> buffers_;
};

double product_of(const ProductShape& shape) {
  return static_cast<double>(shape.rows) * static_cast<double>(shape.out) * static_cast<double>(shape.in);
}

// Enough of it to run at full speed.
ProductShape part_of(ProductShape shape) {
  const auto at_most = [](std::int64_t size, double most) {
    return std::max<std::int64_t>(1, std::min(size, static_cast<std::int64_t>(most)));
  };
  shape.out = at_most(shape.out, kMostElements / static_cast<double>(shape.in));
  shape.rows = at_most(shape.rows, kMostProduct / static_cast<double>(shape.out * shape.in));
  return shape;
}

}  // namespace

double timed_product(Backend& backend, MeasuringTime& spent, const FrozenMatrixPlan& like, const ProductShape& shape,
                     bool forward) {
  const ProductShape part = part_of(shape);
  Values values(backend);
  FrozenMatrixPlan plan = like;
  plan.out_features = part.out, plan.in_features = part.in, plan.typical_tokens = shape.rows;
  const auto weight = make_frozen_matrix(backend, plan, values.take({part.out, part.in}));
  const TensorView x = values.take({part.rows, part.in}), y = values.take({part.rows, part.out});
  const double seconds = shortest_seconds(
      backend, spent, [&] { forward ? weight->forward(x, y, false) : weight->input_gradient(y, x, false); });
  return 2 * product_of(part) / seconds;
}

double timed_adapter(Backend& backend, MeasuringTime& spent, const ProductShape& shape, std::int64_t rank) {
  Values values(backend);
  const std::int64_t rows = std::min<std::int64_t>(shape.rows, 4096);
  const TensorView x = values.take({rows, shape.in}), y = values.take({rows, shape.out}), z = values.take({rows, rank}),
                   dz = values.take({rows, rank}), a = values.take({rank, shape.in}),
                   b = values.take({shape.out, rank}), da = values.take({rank, shape.in}),
                   db = values.take({shape.out, rank});
  const double seconds = shortest_seconds(backend, spent, [&] {
    matmul(backend, {.a = x, .b = a, .c = z, .transpose_b = true});
    matmul(backend, {.a = z, .b = b, .c = y, .transpose_b = true, .accumulate = true});
    matmul(backend, {.a = y, .b = b, .c = dz});
    matmul(backend, {.a = y, .b = z, .c = db, .transpose_a = true, .scale = 1e-6F});
    matmul(backend, {.a = dz, .b = x, .c = da, .transpose_a = true, .scale = 1e-6F});
    matmul(backend, {.a = dz, .b = a, .c = x, .scale = 1e-6F, .accumulate = true});
  });
  return 6.0 * static_cast<double>(rows * rank * (shape.in + shape.out)) / seconds;
}

double timed_attention(Backend& backend, MeasuringTime& spent, const AttentionShape& shape, bool forward) {
  Batch batch;
  batch.tokens.resize(static_cast<std::size_t>(shape.length * shape.sequences));
  for (std::int64_t k = 0; k <= shape.sequences; ++k) {
    batch.offsets.push_back(static_cast<std::int32_t>(k * shape.length));
  }
  AttentionFloor attention(
      backend, {.heads = shape.heads, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim, .type = DType::kF32},
      batch);
  attention.forward();
  const double seconds =
      shortest_seconds(backend, spent, [&] { forward ? attention.forward() : attention.backward(); });
  const double width = static_cast<double>(shape.heads * shape.head_dim);
  return (forward ? 2 : 5) * width * attention.squared_lengths() / seconds;
}

double timed_elementwise(Backend& backend, MeasuringTime& spent, std::int64_t rows, std::int64_t hidden,
                         std::int64_t intermediate) {
  Values values(backend);
  const TensorView x = values.take({rows, hidden}), y = values.take({rows, hidden}), dx = values.take({rows, hidden}),
                   weight = values.take({hidden}), rstd = values.take({rows}), gain = values.take({hidden}),
                   h = values.take({hidden}), gate = values.take({rows, intermediate}),
                   up = values.take({rows, intermediate}), act = values.take({rows, intermediate}),
                   wide_gain = values.take({intermediate}), wide_h = values.take({intermediate});
  const LinearProduct gate_product{.u = gate, .gain = wide_gain, .bias = {}},
      up_product{.u = up, .gain = wide_gain, .bias = {}};
  const TensorView dgate = values.take({rows, intermediate}), dup = values.take({rows, intermediate});
  const double seconds = shortest_seconds(backend, spent, [&] {
    rms_norm_forward(backend, {.x = x, .weight = weight, .y = y, .rstd = rstd});
    scale_columns_forward(backend, {.u = y, .gain = gain, .bias = {}, .residual = x, .y = dx});
    swiglu_forward(backend, {.gate = gate_product, .up = up_product, .y = act});
    swiglu_backward(backend, {.dy = act,
                              .gate = gate_product,
                              .up = up_product,
                              .dgate = {.du = dgate, .h = wide_h},
                              .dup = {.du = dup, .h = wide_h}});
    scale_columns_backward(backend, {.dy = y, .u = x, .gain = gain, .du = dx, .h = h});
    rms_norm_backward(backend, {.dy = y, .x = x, .weight = weight, .rstd = rstd, .dx = dx, .accumulate = true});
  });
  return kFp32 * static_cast<double>(rows) *
         (12 * static_cast<double>(hidden) + 8 * static_cast<double>(intermediate)) / seconds;
}

double timed_loss(Backend& backend, MeasuringTime& spent, std::int64_t rows, std::int64_t columns) {
  Values values(backend);
  const TensorView logits = values.take({rows, columns});
  DeviceBuffer targets(backend, rows * size_bytes(DType::kI32)), loss(backend, 2 * size_bytes(DType::kF64));
  const CrossEntropy op{.logits = logits,
                        .dlogits = logits,
                        .targets = {targets.data(), DType::kI32, {rows}},
                        .row_max = values.take({rows}),
                        .sums = values.take({2, rows}),
                        .loss = {loss.data(), DType::kF64, {2}}};
  backend.zero(op.targets);
  backend.zero(op.loss);
  const double seconds = shortest_seconds(backend, spent, [&] {
    cross_entropy_max(backend, op);
    cross_entropy_sum(backend, op);
    cross_entropy_finish(backend, op);
  });
  return 4 * kFp32 * static_cast<double>(rows * columns) / seconds;
}

double timed_optimizer(Backend& backend, MeasuringTime& spent) {
  constexpr std::int64_t kParameters = 4'000'000;
  Values values(backend);
  const TensorView value = values.take({kParameters}), gradient = values.take({kParameters}),
                   moment1 = values.take({kParameters}), moment2 = values.take({kParameters});
  backend.zero(moment1);
  backend.zero(moment2);
  const double seconds = shortest_seconds(backend, spent, [&] {
    adamw(backend, {.value = value, .gradient = gradient, .moment1 = moment1, .moment2 = moment2});
  });
  return 7 * kFp32 * static_cast<double>(kParameters) / seconds;
}

}  // namespace shardora
