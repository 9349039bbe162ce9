#include "runtime/session/cpu_affinity.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

using Cores = std::vector<int>;

bool set_cores(const Cores& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(static_cast<std::size_t>(core), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

// The kernel cuts a mask to the process's cpuset: asking for every core shows what is allowed at all.
Cores allowed_cores() {
  Cores before = affinity(0);
  Cores all(CPU_SETSIZE);
  for (int core = 0; core < CPU_SETSIZE; ++core) all[static_cast<std::size_t>(core)] = core;
  if (!set_cores(all)) return before;
  Cores allowed = affinity(0);
  set_cores(before);
  return allowed;
}

// Allowed, and given to the launcher: the parent is mpirun or its daemon, whose mask is the job's.
Cores launcher_cores() {
  const Cores allowed = allowed_cores(), parent = affinity(getppid());
  Cores both;
  std::set_intersection(allowed.begin(), allowed.end(), parent.begin(), parent.end(), std::back_inserter(both));
  return both.empty() ? affinity(0) : both;
}

// This rank's part of the host's cores; parts do not overlap where there are cores enough.
Cores share_of(const BindingFacts& facts) {
  const std::size_t count = std::max<std::size_t>(1, facts.host.size() / static_cast<std::size_t>(facts.local_size));
  const std::size_t first = static_cast<std::size_t>(facts.local_rank) * count % facts.host.size();
  Cores share;
  for (std::size_t i = 0; i < count; ++i) share.push_back(facts.host[(first + i) % facts.host.size()]);
  std::sort(share.begin(), share.end());
  return share;
}

std::string count(std::size_t number, const char* what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

}  // namespace

Binding plan_binding(const BindingFacts& facts, const ParallelOptions& options) {
  const Cores share = share_of(facts);
  Binding binding{.mask = facts.mask, .threads = options.threads, .note = {}, .warning = {}};
  const bool widens = options.bind == "auto" && facts.started_by_mpirun && facts.mask.size() < share.size();
  if (widens) binding.mask = share;
  // Ranks that are not bound share their cores: each takes as many threads as its part has cores.
  if (binding.threads == 0) binding.threads = static_cast<int>(std::min(binding.mask.size(), share.size()));
  if (static_cast<std::size_t>(binding.threads) > binding.mask.size()) {
    binding.warning = fmt::format(
        "parallel.threads = {} is more than the {} that a rank may use: threads will wait for "
        "each other; 0 takes as many as there are",
        binding.threads, count(binding.mask.size(), "core"));
  }
  binding.note = fmt::format("{} a rank", count(static_cast<std::size_t>(binding.threads), "thread"));
  if (widens) {
    binding.note += fmt::format(
        ", mask widened from {} to {}: this rank's share of the host (parallel.bind = keep leaves the launcher's)",
        count(facts.mask.size(), "core"), count(share.size(), "core"));
  } else {
    binding.note += fmt::format(", {} in the mask", count(binding.mask.size(), "core"));
  }
  return binding;
}

Binding bind_cores(const MpiSession& session, const ParallelOptions& options) {
  const BindingFacts facts{.mask = affinity(0),
                           .host = launcher_cores(),
                           .local_rank = session.host_local_rank(),
                           .local_size = session.host_local_size(),
                           .started_by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr};
  Binding binding = plan_binding(facts, options);
  if (binding.mask != facts.mask && !set_cores(binding.mask)) binding.note += "; the system refused the mask";
  return binding;
}

}  // namespace shardora
