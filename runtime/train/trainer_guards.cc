// The trainer's eyes on what should not happen: memory that changes by itself, and ranks that lag behind.
#include "runtime/comm/agreement.h"
#include "runtime/train/replicas.h"
#include "runtime/train/trainer.h"

namespace shardora {

// What nothing should have changed: each rank's frozen weights, and what all hold alike. A step's first check counts.
void Trainer::check_memory(std::int64_t step) {
  if (checked_step_ == step) return;
  const ProcessGrid& grid = context_.grid;
  agree(*grid.world, [&] { frozen_->check(grid.world->rank()); });
  require_equal_replicas(context_.backend, grid, model_->parameters());
  checked_step_ = step;
}

// What is not finite may come from a bit that has changed by itself: then that is the reason to tell. All ranks decide
// alike, so all come to the check.
TrainStep::Result Trainer::run_step(std::int64_t step) {
  try {
    const TrainStep::Result done = step_->run(step);
    if (done.skipped) check_memory(step);
    return done;
  } catch (const AgreedError& error) {
    if (error.status() == ExitStatus::kNotFinite) check_memory(step);
    throw;
  }
}

double Trainer::waited_seconds() const {
  return context_.watchdog == nullptr ? 0 : context_.watchdog->waited_seconds();
}

// On a device a rank's own work and its waiting are one queue.
void Trainer::watch_stragglers(const TrainStep::Result& done, double waited_before) {
  if (context_.watchdog == nullptr || context_.backend.kind() != BackendKind::kCpu) return;
  const double own = done.seconds - (waited_seconds() - waited_before);
  if (const auto said = stragglers_.step(*context_.grid.world, own)) context_.log.warn(*said);
}

}  // namespace shardora
