// How fast a device does what a step is made of, and how long a step takes it.
#pragma once

#include <string>
#include <utility>

#include "runtime/comm/dry_run_communicator.h"
#include "runtime/observe/cost_model.h"
#include "runtime/observe/device_table.h"

namespace shardora {

class Speeds {
 public:
  virtual ~Speeds() = default;
  // FLOP/s of one rank.
  virtual double gemm(const GemmShape& shape, bool forward) = 0;
  virtual double adapter(const GemmShape& shape, std::int64_t rank) = 0;
  virtual double attention(const AttentionShape& shape, bool forward) = 0;
  // Bytes/s: in elementwise passes over rows of these widths, in the loss, in passes over parameters.
  virtual double elementwise(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate) = 0;
  virtual double loss(std::int64_t rows, std::int64_t columns) = 0;
  virtual double memory() = 0;
  // Sums over groups whose ranks lie within so many neighbours: bytes/s between two of them, and seconds of one call.
  virtual double link(int neighbours) = 0;
  virtual double latency() = 0;
};

// Of a GPU in the table: its peaks and what share of them is achieved.
class TableSpeeds final : public Speeds {
 public:
  explicit TableSpeeds(const DeviceFigures& device) : device_(device) {}
  double gemm(const GemmShape&, bool) override { return device_.bf16_flops * device_.product_share; }
  double adapter(const GemmShape& shape, std::int64_t rank) override;
  double attention(const AttentionShape&, bool) override { return device_.bf16_flops * device_.attention_share; }
  double elementwise(std::int64_t, std::int64_t, std::int64_t) override { return memory(); }
  double loss(std::int64_t, std::int64_t) override { return memory(); }
  double memory() override { return device_.memory_bandwidth * device_.bandwidth_share; }
  double link(int neighbours) override;
  double latency() override { return 15e-6; }

 private:
  const DeviceFigures& device_;
};

// A rank's sums in a step: over the tensor group, of gradients there, and over the data group.
struct StepTraffic {
  Traffic tensor, tensor_gradients, data;
};

struct StepTime {
  double products = 0, head = 0, attention = 0, adapters = 0, elementwise = 0, loss = 0, norms = 0, optimizer = 0;
  double tensor_sums = 0, gradient_sums = 0;
  double total() const;
  double floor() const { return products + head + attention; }  // what no implementation can do without
};
inline constexpr std::pair<const char*, double StepTime::*> kTimeParts[] = {
    {"products", &StepTime::products},
    {"head", &StepTime::head},
    {"attention", &StepTime::attention},
    {"adapters", &StepTime::adapters},
    {"elementwise", &StepTime::elementwise},
    {"loss", &StepTime::loss},
    {"norms", &StepTime::norms},
    {"optimizer", &StepTime::optimizer},
    {"tensor sums", &StepTime::tensor_sums},
    {"gradient sums", &StepTime::gradient_sums}};

StepTime step_time(const StepCost& cost, const StepTraffic& traffic, int tensor_size, int data_size, Speeds& speeds);

}  // namespace shardora
