#include "runtime/jobs/doctor/judge.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <sstream>

namespace shardora {
namespace {

using Ranks = std::vector<RankFacts>;

// Hosts by their lowest rank, each with its ranks.
std::map<int, std::vector<const RankFacts*>> by_host(const Ranks& ranks) {
  std::map<int, std::vector<const RankFacts*>> hosts;
  for (const RankFacts& one : ranks) hosts[one.host].push_back(&one);
  return hosts;
}

std::vector<int> ranks_where(const Ranks& ranks, const std::function<bool(const RankFacts&)>& is) {
  std::vector<int> found;
  for (const RankFacts& one : ranks) {
    if (is(one)) found.push_back(one.rank);
  }
  return found;
}

std::string name_ranks(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "rank " : "ranks ") + number_list(ranks);
}

// One text for all, or a fault that names who differs.
Findings judge_same(const Ranks& ranks, const char* what, std::string RankFacts::*text, const char* remedy) {
  const std::string& expected = ranks[0].*text;
  const std::vector<int> others = ranks_where(ranks, [&](const auto& one) { return one.*text != expected; });
  if (others.empty()) return {};
  const RankFacts& other = ranks[static_cast<std::size_t>(others[0])];
  return {{true, fmt::format("mixed versions of {}: {} on host {} has '{}', rank 0 on host {} has '{}'; {}", what,
                             name_ranks(others), other.on.name, other.*text, ranks[0].on.name, expected, remedy)}};
}

std::vector<std::string> words_of(std::string list) {
  std::replace(list.begin(), list.end(), ',', ' ');
  std::istringstream text(list);
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

bool has_interface(const HostFacts& host, const std::string& name) {
  return std::any_of(host.interfaces.begin(), host.interfaces.end(), [&](const auto& one) { return one.name == name; });
}

}  // namespace

std::string number_list(const std::vector<int>& ascending) {
  std::string text;
  for (std::size_t i = 0; i < ascending.size();) {
    std::size_t end = i + 1;
    while (end < ascending.size() && ascending[end] == ascending[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ascending[i]);
    if (end > i + 1) text += fmt::format("-{}", ascending[end - 1]);
    i = end;
  }
  return text;
}

Findings judge_versions(const Ranks& ranks) {
  Findings findings = judge_same(ranks, "this program", &RankFacts::program, "install one build of it on all hosts");
  append(findings, judge_same(ranks, "MPI", &RankFacts::mpi, "load one MPI on all hosts"));
  append(findings,
         judge_same(ranks, "NCCL", &RankFacts::nccl, "install one on all hosts, or set parallel.communicator = host"));
  return findings;
}

Findings judge_cores(const Ranks& ranks) {
  Findings findings;
  for (const auto& [host, members] : by_host(ranks)) {
    std::set<int> cores;
    std::size_t threads = 0;
    for (const RankFacts* one : members) {
      cores.insert(one->cores.begin(), one->cores.end());
      threads += static_cast<std::size_t>(one->threads);
    }
    if (threads <= cores.size()) continue;
    findings.push_back(
        {false,
         fmt::format("host {}: {} ranks want {} threads, but may use {} of its {} cores ({}): they wait for each "
                     "other; start fewer ranks, or give them more cores (mpirun --bind-to none, srun "
                     "--cpus-per-task)",
                     members[0]->on.name, members.size(), threads, cores.size(), members[0]->on.cores,
                     number_list({cores.begin(), cores.end()}))});
  }
  return findings;
}

Findings judge_devices(const Ranks& ranks, const ParallelOptions& options) {
  if (options.backend == "cpu") return {};
  const std::vector<int> without = ranks_where(ranks, [](const auto& one) { return one.devices.empty(); });
  if (!without.empty()) {
    const RankFacts& first = ranks[static_cast<std::size_t>(without[0])];
    if (options.backend == "cuda") {
      return {{true,
               fmt::format("{} on host {}: no device: {}", name_ranks(without), first.on.name, first.device_refusal)}};
    }
    if (without.size() == ranks.size() && first.on.driver.empty()) return {};  // a run on CPUs
    return {{false, fmt::format("{} on host {}: no device ({}), so all ranks compute on CPUs; repair that, or set "
                                "parallel.backend = cpu",
                                name_ranks(without), first.on.name, first.device_refusal)}};
  }
  Findings findings;
  for (const auto& [host, members] : by_host(ranks)) {
    std::set<std::string> seen;
    for (const RankFacts* one : members) {
      for (const CudaDevice& device : one->devices) seen.insert(device.identifier);
    }
    const bool apart =
        std::all_of(members.begin(), members.end(), [](const auto* one) { return one->devices.size() == 1; });
    if (apart && seen.size() > 1) {
      findings.push_back(
          {false, fmt::format("host {}: each rank sees its own device only, so transfers between them may go "
                              "through host memory; show all to all (srun --gpus-per-node=N "
                              "--gpu-bind=none)",
                              members[0]->on.name)});
    }
  }
  return findings;
}

// Networks (10.0.0.0/8) are left to MPI.
Findings judge_interfaces(const RankFacts& rank) {
  Findings findings;
  if (rank.mpi_interfaces.starts_with('^')) return findings;
  for (const std::string& name : words_of(rank.mpi_interfaces)) {
    if (name == "lo" || name.find('/') != std::string::npos || has_interface(rank.on, name)) continue;
    findings.push_back(
        {true, fmt::format("MPI is told to use interface {} (OMPI_MCA_btl_tcp_if_include = {}), which host {} does "
                           "not have, or not up; name one that it has, or bring it up",
                           name, rank.mpi_interfaces, rank.on.name)});
  }
  return findings;
}

Findings judge_network(const Ranks& ranks) {
  Findings findings;
  const auto hosts = by_host(ranks);
  if (hosts.size() == 1) return findings;
  for (const auto& [host, members] : hosts) {
    const HostFacts& on = members[0]->on;
    if (on.interfaces.empty() && on.fabric_megabits == 0) {
      findings.push_back(
          {true, fmt::format("host {}: no network interface is up; bring one up, or leave that host out", on.name)});
      continue;
    }
    append(findings, judge_interfaces(*members[0]));
  }
  return findings;
}

Findings judge_memory(const Ranks& ranks) {
  constexpr std::int64_t kShared = std::int64_t{64} << 20;  // of a rank
  constexpr std::int64_t kLittle = std::int64_t{1} << 30;
  Findings findings;
  for (const auto& [host, members] : by_host(ranks)) {
    const HostFacts& on = members[0]->on;
    if (on.free_bytes < kLittle) {
      findings.push_back(
          {false, fmt::format("host {}: {} MiB of memory are free, by {}; end what else runs there, or ask "
                              "for more (srun --mem)",
                              on.name, on.free_bytes >> 20, on.limit)});
    }
    if (members.size() > 1 && on.shared_memory_bytes < kShared * std::ssize(members)) {
      findings.push_back(
          {false, fmt::format("host {}: {} MiB are free in /dev/shm, through which {} ranks talk; give a "
                              "container more (--shm-size), or remove what is left there",
                              on.name, on.shared_memory_bytes >> 20, members.size())});
    }
  }
  return findings;
}

Findings judge_ranks(const Ranks& ranks, const ParallelOptions& options) {
  Findings findings = judge_versions(ranks);
  append(findings, judge_cores(ranks));
  append(findings, judge_devices(ranks, options));
  append(findings, judge_network(ranks));
  append(findings, judge_memory(ranks));
  return findings;
}

}  // namespace shardora
