#include "launch/commands/commands.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/comm/launcher.h"
#include "runtime/jobs/analyze/report.h"
#include "runtime/jobs/doctor/doctor.h"
#include "runtime/jobs/eval/eval.h"
#include "runtime/jobs/generate/generate.h"
#include "runtime/jobs/inspect/inspect.h"
#include "runtime/jobs/merge/merge.h"
#include "runtime/jobs/plan/plan_report.h"
#include "runtime/system/files.h"
#include "runtime/train/summary.h"
#include "runtime/train/train.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

bool is_written(const ordered_json& result) {
  const std::string line = result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
}

ExitStatus run_train(const RunOptions& options, const Context& context) {
  const TrainSummary summary = train(options, context);
  print_result(context, to_json(summary));
  return summary.stopped_early ? ExitStatus::kStoppedEarly : ExitStatus::kDone;
}

ExitStatus run_plan(const RunOptions& options, const Context& context) {
  const RunPlan plan = make_plan(options);
  if (!plan.warning.empty()) context.log.warn(plan.warning);
  std::fputs(to_text(plan).c_str(), stdout);
  print_result(*context.grid.world, to_json(plan), Above::kReport);
  return ExitStatus::kDone;
}

ExitStatus run_analyze(const RunOptions& options, const Context& context) {
  const Analysis analysis = analyze(options, context);
  if (context.grid.world->rank() == 0) std::fputs(to_text(analysis).c_str(), stdout);
  print_result(*context.grid.world, to_json(analysis));
  return ExitStatus::kDone;
}

ExitStatus run_inspect(const RunOptions& options, const Context& context) {
  Problems problems;
  const ordered_json result = inspect(options, context.backend, problems);
  print_result(*context.grid.world, result, Above::kReport);
  if (problems.unusable.empty()) return ExitStatus::kDone;
  const std::size_t others = problems.unusable.size() - 1;
  refuse(ExitStatus::kBadInput, "{}{}", problems.unusable.front(),
         others > 0 ? fmt::format("; and {} more, see the report", others) : std::string());
}

}  // namespace

ExitStatus run_command(const CommandInfo& command, const RunOptions& options, const Context& context) {
  switch (command.bit) {
    case kTrain:
      return run_train(options, context);
    case kPlan:
      return run_plan(options, context);
    case kAnalyze:
      return run_analyze(options, context);
    case kInspect:
      return run_inspect(options, context);
    case kMerge:
      print_result(context, to_json(merge(options, context)));
      return ExitStatus::kDone;
    case kEval:
      print_result(*context.grid.world, to_json(evaluate(options, context)));
      return ExitStatus::kDone;
    default:
      print_result(*context.grid.world, to_json(generate(options, context)));
      return ExitStatus::kDone;
  }
}

ExitStatus run_doctor(MpiSession& session, const RunOptions& options, Watchdog& watchdog) {
  Communicator& world = session.world();
  const Examination seen = examine(session, options, program_identity(), watchdog);
  if (world.rank() == 0) std::fputs(to_text(seen).c_str(), stdout);
  print_result(world, world.rank() == 0 ? to_json(seen) : ordered_json());
  const bool usable = world.all_reduce(std::int64_t{seen.usable()}, Reduction::kMin) == 1;
  return usable ? ExitStatus::kDone : ExitStatus::kUnavailable;
}

std::string program_identity() { return SHARDORA_VERSION " build " + hex(file_checksum("/proc/self/exe")); }

bool is_result_wanted(Above above, bool terminal, bool launched) {
  return above == Above::kNothing || !terminal || launched;
}

void print_result(Communicator& world, const ordered_json& result, Above above) {
  agree(world, [&] {
    if (world.rank() != 0) return;
    const bool launched = launched_ranks([](const char* name) -> const char* { return std::getenv(name); }).has_value();
    if (!is_result_wanted(above, isatty(STDOUT_FILENO) == 1, launched)) return;
    if (!is_written(result)) refuse(ExitStatus::kIo, "cannot write the result to standard output");
  });
}

void print_result(const Context& context, const ordered_json& result) {
  if (context.grid.world->rank() != 0 || is_written(result)) return;
  context.log.warn("standard output cannot be written: the result's line is lost, what was made is complete");
}

}  // namespace shardora
