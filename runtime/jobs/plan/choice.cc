#include "runtime/jobs/plan/choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/jobs/plan/occupancy.h"

namespace shardora {
namespace {

std::string not_told_apart(const RunPlan& plan) {
  std::string names;
  for (const std::size_t index : plan.as_good) {
    const SplitPlan& split = plan.splits[index];
    names += fmt::format("{}{} data x {} tensor", names.empty() ? "" : ", ", split.data, split.tensor);
  }
  return fmt::format("; measuring saw {:.3g} % of the machine's speed and cannot tell it from {}",
                     100 * plan.shown_speed, names);
}

// What others took is known on the whole. The figures of one split may have lost as much again.
bool tells_apart(double shown_speed, const SplitPlan& best, const SplitPlan& other) {
  return !is_disturbed(shown_speed) && other.tokens_per_second <= shown_speed * shown_speed * best.tokens_per_second;
}

}  // namespace

void choose_best(RunPlan& plan) {
  for (std::size_t i = 0; i < plan.splits.size(); ++i) {
    const SplitPlan& split = plan.splits[i];
    if (split.fits() && (!plan.best || split.tokens_per_second > plan.splits[*plan.best].tokens_per_second)) {
      plan.best = i;
    }
  }
  if (!plan.best) return;
  const SplitPlan& best = plan.splits[*plan.best];
  double next = 0, faster = 0;
  for (std::size_t i = 0; i < plan.splits.size(); ++i) {
    const SplitPlan& split = plan.splits[i];
    if (i == *plan.best || !split.refused.empty()) continue;
    (split.fits() ? next : faster) = std::max(split.fits() ? next : faster, split.tokens_per_second);
    if (split.fits() && !tells_apart(plan.shown_speed, best, split)) plan.as_good.push_back(i);
  }
  plan.why = next > 0 ? fmt::format("the fastest that fits, {:.2f} times the next", best.tokens_per_second / next)
                      : std::string("the only one that fits");
  if (faster > best.tokens_per_second) plan.why += "; a faster one does not fit";
  if (!plan.as_good.empty()) plan.why += not_told_apart(plan);
}

}  // namespace shardora
