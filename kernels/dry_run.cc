#include "kernels/dry_run.h"

namespace shardora {
namespace {

class DryRunBackend final : public Backend {
 public:
  BackendKind kind() const override { return BackendKind::kDryRun; }
  std::string description() const override { return "dry run: sizes only"; }
  std::string instruction_set() const override { return "none"; }
  // Never read or written, but not null: a view without data is an absent one (a model without such a norm or bias).
  void* allocate(std::int64_t) override { return &nowhere_; }
  void release(void*) noexcept override {}
  void* allocate_host(std::int64_t) override { return &nowhere_; }
  void release_host(void*) noexcept override {}
  void copy_from_host(TensorView, TensorView) override {}
  void copy_to_host(TensorView, TensorView) override {}
  void copy(TensorView, TensorView) override {}
  void zero(TensorView) override {}
  Event record() override { return {}; }
  void wait(const Event&) override {}
  void synchronize() override {}
  void wait_on_host(const Event&) override {}
  bool passed(const Event&) const override { return true; }
  std::unique_ptr<Queue> make_queue() override { return nullptr; }  // collectives are dry-run without queues
  void record_time(TimePoint&) override {}
  double seconds_between(const TimePoint&, const TimePoint&) const override { return 0; }

 private:
  alignas(64) std::byte nowhere_{};
};

class DryRunMatrix final : public WeightMatrix {
 public:
  explicit DryRunMatrix(const FrozenMatrixPlan& plan) : plan_(plan) {}
  std::int64_t out_features() const override { return plan_.out_features; }
  std::int64_t in_features() const override { return plan_.in_features; }
  std::int64_t bytes() const override { return frozen_matrix_bytes(plan_); }
  std::vector<TensorView> stored() const override { return {}; }
  void forward(TensorView, TensorView, bool) const override {}
  void input_gradient(TensorView, TensorView, bool) const override {}
  void gather_rows(TensorView, std::int64_t, TensorView) const override {}
  void read_rows(std::int64_t, TensorView) const override {}
  void row_squared_norms(TensorView) const override {}
  void column_squared_norms(TensorView) const override {}

 private:
  FrozenMatrixPlan plan_;
};

}  // namespace

std::unique_ptr<Backend> make_dry_run_backend() { return std::make_unique<DryRunBackend>(); }

std::unique_ptr<WeightMatrix> make_dry_run_matrix(const FrozenMatrixPlan& plan) {
  return std::make_unique<DryRunMatrix>(plan);
}

}  // namespace shardora
