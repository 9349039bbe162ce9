// From the shell to a command and back: session, options, command, catch, exit status.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>

#include "launch/commands/commands.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/jobs/doctor/doctor.h"
#include "runtime/session/backend_setup.h"

namespace shardora {
namespace {

using Words = std::vector<std::string>;

std::atomic<bool> stop_requested = false;  // the one global: a signal handler reaches nothing else
static_assert(std::atomic<bool>::is_always_lock_free);

// Only training looks at the flag; other commands have nothing to save and end by the signal itself. Set before MPI is
// up, which takes a while on many hosts. Under nohup the end of a terminal ends nothing.
void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested = true; };
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

// A standard stream that is closed would be the next file that is opened. It becomes one that cannot be used, either.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) == -1) open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

const char* environment(const char* name) { return std::getenv(name); }

// What can be answered without any rank.
std::optional<std::string> answer_at_once(const Words& words) {
  const auto is_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (words.empty()) return std::nullopt;
  if (is_help(words[0])) return general_help();
  if (words[0] == "--keys") return keys_page();
  if (words[0] == "--version") return std::string("shardora " SHARDORA_VERSION "\n");
  for (const CommandInfo& command : command_table()) {
    if (command.name != words[0]) continue;
    for (const std::string& word : words) {
      if (is_help(word)) return command_help(command);
    }
  }
  return std::nullopt;
}

// The words, read before MPI is up: the watchdog needs them. What is wrong with them is reported later, by all ranks
// alike.
struct Reading {
  Invocation invocation;
  std::exception_ptr mistake;
};
Reading read_words(const Words& words) {
  try {
    return {parse_invocation(words), nullptr};
  } catch (const Error&) {
    return {{}, std::current_exception()};
  }
}

WatchdogPlan watchdog_plan(const Words& words, const RunOptions& options) {
  if (!words.empty() && words[0] == "doctor") return doctor_deadline(options.doctor.timeout_seconds);
  return {.seconds = options.parallel.timeout_seconds, .init_seconds = options.parallel.init_timeout_seconds};
}

ExitStatus run_on_ranks(MpiSession& session, Reading& reading, Watchdog& watchdog) {
  Communicator& world = session.world();
  watchdog.set_activity("the start of the command");
  Invocation& invocation = reading.invocation;
  agree(world, [&] {
    if (reading.mistake) std::rethrow_exception(reading.mistake);
    if ((invocation.command->bit & (kInspect | kPlan)) != 0 && world.size() > 1) {
      refuse(ExitStatus::kUsage, "{} runs on one rank, not on {}; start it without mpirun", invocation.command->name,
             world.size());
    }
  });
  RunOptions& options = invocation.options;
  const bool doctor = invocation.command->bit == kDoctor;  // which reports all that is wrong, not the first of it
  require_agreement(world, {{"program", doctor ? "" : program_identity()},
                            {"command", invocation.command->name},
                            {"configuration", agreed_config(options)}});
  if (doctor) return run_doctor(session, options, watchdog);
  // A plan is of other ranks than this one.
  const ParallelOptions here = invocation.command->bit == kPlan ? ParallelOptions{} : options.parallel;
  const ProcessGrid& grid = session.make_grid(here);
  if (options.parallel.check_collectives) watchdog.check_collectives();
  const Binding binding = bind_cores(session, here);
  const bool host_work = (invocation.command->bit & (kMerge | kAnalyze | kInspect | kPlan)) != 0;
  BackendSetup setup(session, options, grid, binding, host_work);
  watchdog.start_is_over();
  resolve_dtype(options, setup.backend().kind());  // a resumed run must find it again
  Log log(world.rank(), false);
  log.info(fmt::format("shardora {} {}: {} rank{} = {} data x {} tensor; {}; {}", SHARDORA_VERSION,
                       invocation.command->name, world.size(), world.size() == 1 ? "" : "s", grid.data.size,
                       grid.tensor.size, setup.note(), binding.note));
  if (const std::string warning = first_text(world, binding.warning); !warning.empty()) log.warn(warning);
  if (!grid.warning.empty()) log.warn(grid.warning);
  const Context context{.backend = setup.backend(),
                        .grid = setup.grid(),
                        .log = log,
                        .stop_requested = stop_requested,
                        .resolved_config = resolved_config(options),
                        .ranks_on_host = session.host_local_size(),
                        .ranks_on_device = setup.ranks_on_device(),
                        .watchdog = &watchdog};
  watchdog.set_activity(invocation.command->name);
  return run_command(*invocation.command, options, context);
}

int report(int rank, ExitStatus status, const char* message) {
  if (*message != '\0') std::fprintf(stderr, "shardora: [rank %d] %s\n", rank, message);
  std::fflush(stderr);
  return static_cast<int>(status);
}

// Only this rank knows that it failed, so the peers must be ended with it.
int end_all(MpiSession& session, ExitStatus status, const char* message) {
  report(session.world().rank(), status, message);
  if (session.world().size() > 1) session.abort(status);
  return static_cast<int>(status);
}

int run(MpiSession& session, Reading& reading, Watchdog& watchdog) {
  try {
    return static_cast<int>(run_on_ranks(session, reading, watchdog));
  } catch (const AgreedError& error) {
    return report(session.world().rank(), error.status(), error.what());
  } catch (...) {
    const Failure failure = current_failure();
    return end_all(session, failure.status, failure.message.c_str());
  }
}

}  // namespace
}  // namespace shardora

int main(int argc, char** argv) {
  using namespace shardora;
  fill_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe becomes an error where it is written to
  const Words words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const int launched = launched_rank(environment);
  if (const auto answer = answer_at_once(words)) {
    if (launched == 0) std::fputs(answer->c_str(), stdout);
    return static_cast<int>(ExitStatus::kDone);
  }
  if (!words.empty() && words[0] == "train") stop_on_signals();
  try {
    Reading reading = read_words(words);
    Watchdog watchdog(watchdog_plan(words, reading.invocation.options), environment);  // outlives MPI
    MpiSession session(argc, argv, &watchdog);
    return run(session, reading, watchdog);
  } catch (...) {  // MPI did not come up
    const Failure failure = current_failure();
    return report(launched, failure.status, failure.message.c_str());
  }
}
