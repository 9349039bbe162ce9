#include "runtime/jobs/plan/speeds.h"

#include <algorithm>

namespace shardora {
namespace {

double product_seconds(const ProductWork& work, Speeds& speeds) {
  double seconds = work.forward * work.flops() / speeds.product(work.shape, true);
  if (work.backward > 0) seconds += work.backward * work.flops() / speeds.product(work.shape, false);
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
double TableSpeeds::adapter(const ProductShape& shape, std::int64_t rank) {
  const double a_byte = static_cast<double>(rank);  // 2 r FLOPs for a value of 2 bytes
  return std::min(product(shape, true), a_byte * memory());
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

StepTime step_time(const StepWork& work, int tensor_size, int data_size, Speeds& speeds) {
  StepTime time;
  for (const ProductWork& product : work.products) time.products += product_seconds(product, speeds);
  time.head = product_seconds(work.head, speeds);
  for (const AdapterWork& adapter : work.adapters) {
    time.adapters += adapter.flops / speeds.adapter(adapter.shape, adapter.rank);
  }
  time.attention = work.attention_forward_flops / speeds.attention(work.attention, true);
  if (work.attention_backward_flops > 0) {
    time.attention += work.attention_backward_flops / speeds.attention(work.attention, false);
  }
  time.elementwise = work.elementwise_bytes / speeds.elementwise(work.rows, work.hidden, work.intermediate);
  time.loss = work.loss_bytes / speeds.loss(work.head.shape.rows, work.head.shape.out);
  if (work.norm_flops > 0) {
    const AdapterWork& typical = work.adapters.front();
    time.norms = work.norm_flops / speeds.adapter(typical.shape, typical.rank);
  }
  time.optimizer = work.optimizer_bytes / speeds.memory();
  time.tensor_sums = sum_seconds(work.tensor, tensor_size, tensor_size, speeds) +
                     sum_seconds(work.tensor_gradients, tensor_size, tensor_size, speeds);
  time.gradient_sums = sum_seconds(work.data, data_size, data_size * tensor_size, speeds);
  return time;
}

}  // namespace shardora
