#include "runtime/jobs/plan/measured_speeds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

constexpr double kLeastSeconds = 0.05, kMostSeconds = 1;
constexpr int kLeastPasses = 3;
constexpr double kAgree = 1.03;
constexpr double kMostElements = 64e6;  // of a weight: 256 MB
constexpr double kMostProduct = 20e9;   // rows * out * in: a fifth of a second

// Of one pass: the shortest, as other work on the machine only ever adds, once a second one agrees with it; the first
// makes what it needs.
double shortest_seconds(Backend& backend, const std::function<void()>& pass) {
  const auto timed = [&] {
    const double begin = monotonic_seconds();
    pass();
    backend.synchronize();
    return monotonic_seconds() - begin;
  };
  timed();
  double shortest = std::numeric_limits<double>::infinity(), second = shortest, sum = 0;
  for (int passes = 0;
       passes < kLeastPasses || sum < kLeastSeconds || (sum < kMostSeconds && second > kAgree * shortest); ++passes) {
    const double seconds = timed();
    sum += seconds;
    second = std::min(second, std::max(shortest, seconds));
    shortest = std::min(shortest, seconds);
  }
  return shortest;
}

double product_of(const GemmShape& shape) {
  return static_cast<double>(shape.rows) * static_cast<double>(shape.out) * static_cast<double>(shape.in);
}

// Enough of it to run at full speed.
GemmShape part_of(GemmShape shape) {
  const auto at_most = [](std::int64_t size, double most) {
    return std::max<std::int64_t>(1, std::min(size, static_cast<std::int64_t>(most)));
  };
  shape.out = at_most(shape.out, kMostElements / static_cast<double>(shape.in));
  shape.rows = at_most(shape.rows, kMostProduct / static_cast<double>(shape.out * shape.in));
  return shape;
}

}  // namespace

TensorView RandomOperands::take(Shape shape, DType type) {
  const std::int64_t elements = shape.elements();
  DeviceBuffer drawn(backend_, elements * size_bytes(DType::kF32));
  const TensorView values{drawn.data(), DType::kF32, {1, elements}};
  fill_normal(backend_, {.key = random_key(random_key(4, "plan"), buffers_.size()),
                         .out = values,
                         .logical_columns = elements,
                         .low = 0,
                         .high = 1});
  if (type == DType::kF32) {
    buffers_.push_back(std::move(drawn));
  } else {
    buffers_.emplace_back(backend_, elements * size_bytes(type));
    convert(backend_, {.from = values, .to = {buffers_.back().data(), type, {1, elements}}});
    backend_.synchronize();  // before the fp32 values go
  }
  return {buffers_.back().data(), type, shape};
}

AttentionBackward RandomOperands::attention(const AttentionShape& shape, std::vector<std::int32_t> offsets,
                                            DType type) {
  const Shape count{std::ssize(offsets)};
  buffers_.emplace_back(backend_, count.elements() * size_bytes(DType::kI32));
  const TensorView ends{buffers_.back().data(), DType::kI32, count};
  backend_.copy_from_host(ends, view_of(std::span(offsets), count));
  backend_.synchronize();
  const std::int64_t tokens = offsets.back();
  const Shape of_q{tokens, shape.heads, shape.head_dim}, of_k{tokens, shape.kv_heads, shape.head_dim};
  return {.forward = {.q = take(of_q, type),
                      .k = take(of_k, type),
                      .v = take(of_k, type),
                      .query_offsets = ends,
                      .key_offsets = ends,
                      .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim))),
                      .o = take(of_q, type),
                      .lse = take({tokens, shape.heads})},
          .d_o = take(of_q, type),
          .dq = take(of_q, type),
          .dk = take(of_k, type),
          .dv = take(of_k, type)};
}

MeasuredSpeeds::MeasuredSpeeds(const BackendOptions& options, int ranks, const FrozenMatrixPlan& like)
    : backend_(make_backend(BackendKind::kCpu, options)), ranks_(ranks), like_(like) {}

std::string MeasuredSpeeds::processor() const {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "unknown processor";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) name = printable(line.substr(line.find(':') + 2));
  }
  return fmt::format("{}, {}", name, backend_->instruction_set());
}

double MeasuredSpeeds::speed(const std::string& key, double amount, const MakePass& make) {
  auto known = known_.find(key);
  if (known == known_.end()) {
    RandomOperands operands(*backend_);
    known = known_.emplace(key, amount / shortest_seconds(*backend_, make(operands))).first;
  }
  return known->second / ranks_;
}

double MeasuredSpeeds::gemm(const GemmShape& shape, bool forward) {
  const GemmShape part = part_of(shape);
  return speed(fmt::format("gemm {} {} {} {}", forward, shape.rows, shape.out, shape.in), 2 * product_of(part),
               [&](RandomOperands& operands) {
                 FrozenMatrixPlan plan = like_;
                 plan.out_features = part.out, plan.in_features = part.in, plan.typical_tokens = shape.rows;
                 const std::shared_ptr<WeightMatrix> weight =
                     make_frozen_matrix(*backend_, plan, operands.take({part.out, part.in}));
                 const TensorView x = operands.take({part.rows, part.in}), y = operands.take({part.rows, part.out});
                 return [=] { forward ? weight->forward(x, y, false) : weight->input_gradient(y, x, false); };
               });
}

double MeasuredSpeeds::adapter(const GemmShape& shape, std::int64_t rank) {
  const std::int64_t rows = std::min<std::int64_t>(shape.rows, 4096);
  return speed(fmt::format("adapter {} {} {} {}", rank, rows, shape.out, shape.in),
               6.0 * static_cast<double>(rows * rank * (shape.in + shape.out)), [&](RandomOperands& operands) {
                 const TensorView x = operands.take({rows, shape.in}), y = operands.take({rows, shape.out}),
                                  z = operands.take({rows, rank}), dz = operands.take({rows, rank}),
                                  a = operands.take({rank, shape.in}), b = operands.take({shape.out, rank}),
                                  da = operands.take({rank, shape.in}), db = operands.take({shape.out, rank});
                 return [=, &backend = *backend_] {
                   matmul(backend, {.a = x, .b = a, .c = z, .transpose_b = true});
                   matmul(backend, {.a = z, .b = b, .c = y, .transpose_b = true, .accumulate = true});
                   matmul(backend, {.a = y, .b = b, .c = dz});
                   matmul(backend, {.a = y, .b = z, .c = db, .transpose_a = true, .scale = 1e-6F});
                   matmul(backend, {.a = dz, .b = x, .c = da, .transpose_a = true, .scale = 1e-6F});
                   matmul(backend, {.a = dz, .b = a, .c = x, .scale = 1e-6F, .accumulate = true});
                 };
               });
}

double MeasuredSpeeds::attention(const AttentionShape& shape, bool forward) {
  const double width = static_cast<double>(shape.heads * shape.head_dim), length = static_cast<double>(shape.length);
  const double one_product = width * length * length * static_cast<double>(shape.sequences);  // of causal pairs
  return speed(fmt::format("attention {} {} {} {} {} {}", forward, shape.heads, shape.kv_heads, shape.head_dim,
                           shape.length, shape.sequences),
               (forward ? 2 : 5) * one_product, [&](RandomOperands& operands) {
                 std::vector<std::int32_t> offsets;
                 for (std::int64_t k = 0; k <= shape.sequences; ++k) {
                   offsets.push_back(static_cast<std::int32_t>(k * shape.length));
                 }
                 const AttentionBackward op = operands.attention(shape, std::move(offsets), DType::kF32);
                 attention_forward(*backend_, op.forward);
                 return [=, &backend = *backend_] {
                   forward ? attention_forward(backend, op.forward) : attention_backward(backend, op);
                 };
               });
}

double MeasuredSpeeds::elementwise(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate) {
  const double width = 12 * static_cast<double>(hidden) + 8 * static_cast<double>(intermediate);
  return speed(fmt::format("elementwise {} {} {}", rows, hidden, intermediate), 4 * static_cast<double>(rows) * width,
               [&](RandomOperands& operands) {
                 const Shape narrow{rows, hidden}, wide{rows, intermediate};
                 const TensorView x = operands.take(narrow), y = operands.take(narrow), dx = operands.take(narrow),
                                  weight = operands.take({hidden}), rstd = operands.take({rows}),
                                  gain = operands.take({hidden}), h = operands.take({hidden}),
                                  act = operands.take(wide), dgate = operands.take(wide), dup = operands.take(wide),
                                  wide_gain = operands.take({intermediate}), wide_h = operands.take({intermediate});
                 const LinearProduct gate{.u = operands.take(wide), .gain = wide_gain, .bias = {}},
                     up{.u = operands.take(wide), .gain = wide_gain, .bias = {}};
                 return [=, &backend = *backend_] {
                   rms_norm_forward(backend, {.x = x, .weight = weight, .y = y, .rstd = rstd});
                   scale_columns_forward(backend, {.u = y, .gain = gain, .bias = {}, .residual = x, .y = dx});
                   swiglu_forward(backend, {.gate = gate, .up = up, .y = act});
                   swiglu_backward(backend, {.dy = act,
                                             .gate = gate,
                                             .up = up,
                                             .dgate = {.du = dgate, .h = wide_h},
                                             .dup = {.du = dup, .h = wide_h}});
                   scale_columns_backward(backend, {.dy = y, .u = x, .gain = gain, .du = dx, .h = h});
                   rms_norm_backward(backend,
                                     {.dy = y, .x = x, .weight = weight, .rstd = rstd, .dx = dx, .accumulate = true});
                 };
               });
}

double MeasuredSpeeds::loss(std::int64_t rows, std::int64_t columns) {
  return speed(fmt::format("loss {} {}", rows, columns), 16 * static_cast<double>(rows * columns),
               [&](RandomOperands& operands) {
                 const TensorView logits = operands.take({rows, columns});
                 CrossEntropy op{.logits = logits,
                                 .dlogits = logits,
                                 .targets = operands.take({rows}),
                                 .row_max = operands.take({rows}),
                                 .sums = operands.take({2, rows}),
                                 .loss = operands.take({4})};
                 op.targets.dtype = DType::kI32;
                 op.loss = {op.loss.data, DType::kF64, {2}};
                 backend_->zero(op.targets);
                 backend_->zero(op.loss);
                 return [=, &backend = *backend_] {
                   cross_entropy_max(backend, op);
                   cross_entropy_sum(backend, op);
                   cross_entropy_finish(backend, op);
                 };
               });
}

double MeasuredSpeeds::memory() {
  constexpr std::int64_t kParameters = 4'000'000;
  return speed("optimizer", 7 * 4 * static_cast<double>(kParameters), [&](RandomOperands& operands) {
    const Shape all{kParameters};
    const AdamW op{.value = operands.take(all),
                   .gradient = operands.take(all),
                   .moment1 = operands.take(all),
                   .moment2 = operands.take(all)};
    backend_->zero(op.moment1);
    backend_->zero(op.moment2);
    return [=, &backend = *backend_] { adamw(backend, op); };
  });
}

}  // namespace shardora
