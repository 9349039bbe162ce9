#include "runtime/jobs/plan/speeds.h"

#include <algorithm>

namespace shardora {
namespace {

double gemm_seconds(const LinearCost& cost, Speeds& speeds) {
  double seconds = cost.forward_flops / speeds.gemm(cost.shape, true);
  if (cost.backward_flops > 0) seconds += cost.backward_flops / speeds.gemm(cost.shape, false);
  return seconds;
}

// A ring sends and receives every byte nearly twice.
double sum_seconds(const Traffic& traffic, int ranks, int neighbours, Speeds& speeds) {
  if (ranks == 1) return 0;
  const double rounds = 2.0 * (ranks - 1) / ranks;
  return static_cast<double>(traffic.calls) * speeds.latency() +
         rounds * static_cast<double>(traffic.bytes) / speeds.link(neighbours);
}

}  // namespace

// Thin products read and write activations rather than compute.
double TableSpeeds::adapter(const GemmShape& shape, std::int64_t rank) {
  const double a_byte = static_cast<double>(rank);  // 2 r FLOPs for a value of 2 bytes
  return std::min(gemm(shape, true), a_byte * memory());
}

double TableSpeeds::link(int neighbours) {
  const bool one_host = neighbours <= device_.devices_of_host;
  return (one_host ? device_.link_bandwidth : device_.network_bandwidth) * device_.bandwidth_share;
}

double StepTime::total() const {
  double sum = 0;
  for (const auto& [name, part] : kTimeParts) sum += this->*part;
  return sum;
}

StepTime step_time(const StepCost& cost, const StepTraffic& traffic, int tensor_size, int data_size, Speeds& speeds) {
  StepTime time;
  for (const LinearCost& linear : cost.linears) {
    time.products += gemm_seconds(linear, speeds);
    if (linear.adapter_rank == 0) continue;
    const double speed = speeds.adapter(linear.shape, linear.adapter_rank);
    time.adapters += linear.adapter_flops / speed;
    time.norms += linear.norm_flops / speed;
  }
  time.head = gemm_seconds(cost.head, speeds);
  time.attention = cost.attention_forward_flops / speeds.attention(cost.attention, true);
  if (cost.attention_backward_flops > 0) {
    time.attention += cost.attention_backward_flops / speeds.attention(cost.attention, false);
  }
  time.elementwise = cost.elementwise_bytes / speeds.elementwise(cost.rows, cost.hidden, cost.intermediate);
  time.loss = cost.loss_bytes / speeds.loss(cost.head.shape.rows, cost.head.shape.out);
  time.optimizer = cost.optimizer_bytes / speeds.memory();
  time.tensor_sums = sum_seconds(traffic.tensor, tensor_size, tensor_size, speeds) +
                     sum_seconds(traffic.tensor_gradients, tensor_size, tensor_size, speeds);
  time.gradient_sums = sum_seconds(traffic.data, data_size, data_size * tensor_size, speeds);
  return time;
}

}  // namespace shardora
