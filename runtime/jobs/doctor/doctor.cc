#include "runtime/jobs/doctor/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "runtime/comm/agreement.h"
#include "runtime/comm/nccl_library.h"
#include "runtime/jobs/doctor/judge.h"
#include "runtime/observe/device_table.h"
#include "runtime/session/backend_setup.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void look_for_devices(RankFacts& facts, const ParallelOptions& options) {
  if (options.backend == "cpu") return;
  try {
    facts.devices = cuda_devices();
  } catch (const Error& error) {
    facts.device_refusal = error.what();
  }
  if (facts.devices.empty() || options.communicator == "host") return;
  try {
    facts.nccl = nccl::load(nccl::library_path()).description();
  } catch (const Error& error) {
    facts.nccl = error.what();
  }
}

RankFacts look_at_rank(const ProcessGrid& grid, const Binding& binding, const ParallelOptions& options,
                       const std::string& program) {
  const int rank = grid.world->rank();
  RankFacts facts{.rank = rank, .host = grid.hosts[static_cast<std::size_t>(rank)]};
  facts.process = getpid();
  facts.program = program;
  facts.mpi = MpiSession::library();
  facts.cuda_driver = cuda_versions().driver;
  facts.cuda_runtime = cuda_versions().runtime;
  facts.cores = binding.mask;
  facts.threads = binding.threads;
  facts.omp_threads = environment("OMP_NUM_THREADS");
  facts.mpi_interfaces = mpi_interfaces();
  look_for_devices(facts, options);
  facts.on = look_at_host();
  return facts;
}

// As a run would compute. Where it would be refused, the reason becomes a finding, and the CPU serves the tests.
std::unique_ptr<BackendSetup> make_setup(MpiSession& session, const RunOptions& options, const ProcessGrid& grid,
                                         const Binding& binding, Findings& findings) {
  Communicator& world = session.world();
  std::string refusal;
  try {
    return std::make_unique<BackendSetup>(session, options, grid, binding);
  } catch (const AgreedError& error) {  // on all ranks, with the message on one
    refusal = error.what();
  }
  refusal = first_text(world, refusal);
  // Missing devices are among the findings already.
  const bool known = std::any_of(findings.begin(), findings.end(),
                                 [&](const Finding& one) { return one.text.find(refusal) != std::string::npos; });
  if (!known) findings.push_back({true, refusal});
  RunOptions on_cpu = options;
  on_cpu.parallel.backend = "cpu";
  on_cpu.parallel.communicator = "auto";
  return std::make_unique<BackendSetup>(session, on_cpu, grid, binding);
}

// The interface that carries MPI: the one it is configured with, else the fastest. Its figures are rank 0's.
void add_network(LinkFacts& links, const RankFacts& rank) {
  if (rank.on.fabric_megabits > 0) {
    links.network = static_cast<double>(rank.on.fabric_megabits) * 1e6 / 8;
    links.network_name = fmt::format("InfiniBand or RoCE of {} Mb/s", rank.on.fabric_megabits);
    return;
  }
  for (const NetworkInterface& one : rank.on.interfaces) {
    const double speed = static_cast<double>(one.megabits) * 1e6 / 8;
    const bool configured = !rank.mpi_interfaces.empty() && rank.mpi_interfaces == one.name;
    if (!configured && speed <= links.network) continue;
    links.network = speed;
    links.network_name = fmt::format("{} of {} Mb/s", one.name, one.megabits);
    if (configured) return;
  }
}

LinkFacts links_of(const Examination& seen, Backend& backend, int ranks_on_host) {
  LinkFacts links{.copies = seen.copies, .network_name = {}, .ranks_on_host = ranks_on_host};
  if (!seen.ranks.empty()) add_network(links, seen.ranks[0]);
  if (backend.kind() != BackendKind::kCuda) return links;
  links.through_host = seen.compute.find("through MPI") != std::string::npos;
  const DeviceFigures* const figures = find_device_by_name(backend.device_name());
  if (figures != nullptr) links.device_link = figures->link_bandwidth;
  return links;
}

void test_files(const RunOptions& options, const ProcessGrid& grid, Examination& seen) {
  Communicator& world = *grid.world;
  const std::filesystem::path output = options.output.dir;
  const bool first_of_host = grid.hosts[static_cast<std::size_t>(world.rank())] == world.rank();
  FolderFacts mine;
  if (first_of_host) mine = test_folder(output, look_at_host().name);
  std::string lines;
  for (const Finding& one : mine.findings) lines += (one.fault ? "!" : " ") + one.text + '\n';
  for (const std::string& text : world.gather_text(lines)) {
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) seen.findings.push_back({line[0] == '!', line.substr(1)});
  }
  append(seen.findings, test_sharing(world, output, first_of_host));
  seen.folder = std::move(mine);
}

Examination run_tests(MpiSession& session, const RunOptions& options, const std::string& program, Watchdog& watchdog) {
  Communicator& world = session.world();
  watchdog.set_activity("the groups of ranks");
  const ProcessGrid& grid = session.make_grid(options.parallel);
  const Binding binding = bind_cores(session, options.parallel);
  watchdog.set_activity("the look at hosts, devices and NCCL");
  Examination seen{.ranks = gather_facts(world, look_at_rank(grid, binding, options.parallel, program)),
                   .places = place_ranks(grid.hosts, options.parallel.tensor)};
  if (world.rank() == 0) seen.findings = judge_ranks(seen.ranks, options.parallel);
  if (!grid.warning.empty()) seen.findings.push_back({false, grid.warning});
  if (!binding.warning.empty()) seen.findings.push_back({false, binding.warning});
  watchdog.set_activity("the start of devices and their communicator");
  const std::unique_ptr<BackendSetup> setup = make_setup(session, options, grid, binding, seen.findings);
  seen.compute = setup->note();
  watchdog.set_activity("copies in memory");
  seen.copies = measure_copies(world);
  seen.groups =
      test_collectives(setup->grid(), setup->backend(), [&](const auto& what) { watchdog.set_activity(what); });
  const LinkFacts links = links_of(seen, setup->backend(), session.host_local_size());
  for (GroupTest& test : seen.groups) expect(test, links);
  append(seen.findings, judge_collectives(seen.groups));
  watchdog.set_activity("the file system of output.dir");
  if (!options.output.dir.empty()) test_files(options, grid, seen);
  watchdog.set_activity("the end");
  return seen;
}

// MPI's start may hang by it.
std::string wrong_interfaces() {
  RankFacts here;
  here.mpi_interfaces = mpi_interfaces();
  here.on = look_at_host();
  std::string text;
  for (const Finding& one : judge_interfaces(here)) text += "; " + one.text;
  return text;
}

}  // namespace

WatchdogPlan doctor_deadline(double seconds) {
  return {.deadline_seconds = seconds, .deadline_report = [seconds](const std::string& activities) {
            return fmt::format("doctor: not done after {:g} s (doctor.timeout_seconds); {}{}", seconds, activities,
                               wrong_interfaces());
          }};
}

Examination examine(MpiSession& session, const RunOptions& options, const std::string& program, Watchdog& watchdog) {
  try {
    return run_tests(session, options, program, watchdog);
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    refuse(ExitStatus::kUnavailable, "doctor, at '{}': {}", watchdog.activity(), error.what());
  }
}

}  // namespace shardora
