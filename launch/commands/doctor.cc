// doctor: what a run would meet, looked at before it: under the same launcher, with the same keys.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/nccl_library.h"
#include "runtime/jobs/doctor/judge.h"
#include "runtime/jobs/doctor/report.h"
#include "runtime/observe/device_table.h"
#include "runtime/session/backend_setup.h"

namespace shardora {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void look_for_devices(RankFacts& facts, const ParallelOptions& options) {
  if (options.backend == "cpu") return;
  try {
    for (const CudaDevice& device : cuda_devices()) {
      facts.devices.push_back({device.name, device.identifier, device.memory_bytes});
    }
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

RankFacts look_at_rank(Communicator& world, int host, const Binding& binding, const ParallelOptions& options) {
  RankFacts facts{.rank = world.rank(), .host = host};
  facts.process = getpid();
  facts.program = program_identity();
  facts.mpi = MpiSession::library();
  facts.cuda_driver = cuda_versions().driver;
  facts.cuda_runtime = cuda_versions().runtime;
  facts.cores = binding.mask;
  facts.threads = binding.threads;
  facts.omp_threads = environment("OMP_NUM_THREADS");
  facts.mpi_interfaces = told_interfaces();
  look_for_devices(facts, options);
  facts.on = look_at_host();
  return facts;
}

// As a run would compute. Where it would be refused, the reason becomes a finding, and the CPU serves the tests.
std::unique_ptr<BackendSetup> make_compute(MpiSession& session, const Invocation& invocation, const ProcessGrid& grid,
                                           const Binding& binding, Findings& findings) {
  Communicator& world = session.world();
  std::string refusal;
  try {
    return std::make_unique<BackendSetup>(session, invocation.options, grid, binding);
  } catch (const AgreedError& error) {  // on all ranks; one of them has the words
    refusal = error.what();
  }
  const std::int64_t speaker =
      world.all_reduce(std::int64_t{refusal.empty() ? world.size() - 1 : world.rank()}, Reduction::kMin);
  refusal = world.broadcast(refusal, static_cast<int>(speaker));
  // Missing devices have been told by their ranks.
  const bool told = std::any_of(findings.begin(), findings.end(),
                                [&](const Finding& one) { return one.text.find(refusal) != std::string::npos; });
  if (!told) findings.push_back({true, refusal});
  RunOptions on_cpu = invocation.options;
  on_cpu.parallel.backend = "cpu";
  on_cpu.parallel.communicator = "auto";
  return std::make_unique<BackendSetup>(session, on_cpu, grid, binding);
}

// The interface that carries MPI: the one it was told of, else the fastest. Its figures are rank 0's.
void add_network(LinkFacts& links, const RankFacts& rank) {
  if (rank.on.fabric_megabits > 0) {
    links.network = static_cast<double>(rank.on.fabric_megabits) * 1e6 / 8;
    links.network_name = fmt::format("InfiniBand or RoCE of {} Mb/s", rank.on.fabric_megabits);
    return;
  }
  for (const NetworkInterface& one : rank.on.interfaces) {
    const double speed = static_cast<double>(one.megabits) * 1e6 / 8;
    const bool told = !rank.mpi_interfaces.empty() && rank.mpi_interfaces == one.name;
    if (!told && speed <= links.network) continue;
    links.network = speed;
    links.network_name = fmt::format("{} of {} Mb/s", one.name, one.megabits);
    if (told) return;
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
  for (const auto& bytes : world.gather(std::as_bytes(std::span(lines)), 0)) {
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
      seen.findings.push_back({text[0] == '!', std::string(text.substr(1, end - 1))});
      text.remove_prefix(end + 1);
    }
  }
  append(seen.findings, test_sharing(world, output, first_of_host));
  seen.folder = std::move(mine);
}

Examination examine(MpiSession& session, const Invocation& invocation, Deadline& deadline) {
  Communicator& world = session.world();
  const RunOptions& options = invocation.options;
  deadline.at("the groups of ranks");
  const ProcessGrid& grid = session.make_grid(options.parallel);
  const Binding binding = bind_cores(session, options.parallel);
  deadline.at("the look at hosts, devices and NCCL");
  const int host = grid.hosts[static_cast<std::size_t>(world.rank())];
  Examination seen{.ranks = gather_facts(world, look_at_rank(world, host, binding, options.parallel)),
                   .places = place_ranks(grid.hosts, options.parallel.tensor)};
  if (world.rank() == 0) seen.findings = judge_ranks(seen.ranks, options.parallel);
  if (!grid.warning.empty()) seen.findings.push_back({false, grid.warning});
  if (!binding.warning.empty()) seen.findings.push_back({false, binding.warning});
  deadline.at("the start of devices and their communicator");
  const std::unique_ptr<BackendSetup> compute = make_compute(session, invocation, grid, binding, seen.findings);
  seen.compute = compute->note();
  deadline.at("copies in memory");
  seen.copies = measure_copies(world);
  seen.groups = test_collectives(compute->grid(), compute->backend(), [&](const auto& what) { deadline.at(what); });
  const LinkFacts links = links_of(seen, compute->backend(), session.host_local_size());
  for (GroupTest& test : seen.groups) expect(test, links);
  append(seen.findings, judge_collectives(seen.groups));
  deadline.at("the file system of output.dir");
  if (!options.output.dir.empty()) test_files(options, grid, seen);
  deadline.at("the end");
  return seen;
}

}  // namespace

ExitStatus run_doctor(MpiSession& session, const Invocation& invocation, Deadline& deadline) {
  Communicator& world = session.world();
  Examination seen;
  try {
    seen = examine(session, invocation, deadline);
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    refuse(ExitStatus::kUnavailable, "doctor, at '{}': {}", deadline.current(), error.what());
  }
  nlohmann::ordered_json result;
  if (world.rank() == 0) {
    fmt::print("{}", to_text(seen));
    result = to_json(seen);
  }
  print_result(world, result);
  const bool usable = world.all_reduce(std::int64_t{seen.usable()}, Reduction::kMin) == 1;
  return usable ? ExitStatus::kDone : ExitStatus::kUnavailable;
}

}  // namespace shardora
