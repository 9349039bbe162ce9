#include "runtime/jobs/doctor/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/jobs/doctor/judge.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30); }

std::string cuda_text(int version) {
  return version == 0 ? "none" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string host_text(const RankFacts& first) {
  const HostFacts& host = first.on;
  std::string text = fmt::format("host {}: {} cores; memory {:.1f} GiB, {:.1f} free ({}); /dev/shm {:.1f} GiB free\n",
                                 host.name, host.cores, gib(host.memory_bytes), gib(host.free_bytes),
                                 host.limit.empty() ? "no limit" : host.limit, gib(host.shared_memory_bytes));
  text += "  network:";
  for (const NetworkInterface& one : host.interfaces) {
    text +=
        fmt::format(" {} {}{};", one.name, one.address, one.megabits == 0 ? "" : fmt::format(" {} Mb/s", one.megabits));
  }
  if (host.interfaces.empty()) text += " none up;";
  if (host.fabric_megabits > 0) text += fmt::format(" InfiniBand or RoCE {} Gb/s;", host.fabric_megabits / 1000);
  text += first.mpi_interfaces.empty() ? " MPI chooses among them\n" : " MPI is told " + first.mpi_interfaces + "\n";
  text += fmt::format("  {}; NVIDIA driver {}, CUDA of driver {}, of program {}; {}\n", first.mpi,
                      host.driver.empty() ? "none" : host.driver, cuda_text(first.cuda_driver),
                      cuda_text(first.cuda_runtime), first.nccl.empty() ? "NCCL not used" : first.nccl);
  return text;
}

std::string rank_text(const RankFacts& rank, const GridPlace& place) {
  std::string text =
      fmt::format("  rank {:<4} data {:<4} tensor {:<4} process {:<8} {} thread{} on cores {}", rank.rank, place.data,
                  place.tensor, rank.process, rank.threads, rank.threads == 1 ? "" : "s", number_list(rank.cores));
  if (!rank.omp_threads.empty()) text += " (OMP_NUM_THREADS " + rank.omp_threads + ")";
  text += '\n';
  for (const CudaDevice& device : rank.devices) {
    text += fmt::format("            {} {} {:.0f} GiB\n", device.identifier, device.name, gib(device.memory_bytes));
  }
  return text;
}

std::string group_text(const GroupTest& test) {
  std::string text = fmt::format("  {:<7} {} ranks{}, {}:", test.group, test.ranks,
                                 test.crosses_hosts ? " of several hosts" : "", test.wrong.empty() ? "right" : "WRONG");
  for (const TimedSum& sum : test.sums) {
    text += fmt::format(" {} KiB {:.3g} ms;", sum.bytes >> 10, sum.seconds * 1e3);
  }
  text += fmt::format(" {:.2f} GB/s", test.bandwidth() / 1e9);
  if (test.expected > 0) return text + fmt::format(", expected {:.2f}: {}\n", test.expected / 1e9, test.expectation);
  return text + ", nothing known to compare with\n";
}

std::string folder_text(const FolderFacts& folder) {
  return fmt::format("output.dir: tested in {}: {:.1f} GiB free, {:.0f} MB/s written with fsync, {}\n", folder.folder,
                     gib(folder.free_bytes), folder.write_bytes_per_second / 1e6,
                     folder.locks ? "locks work" : "no locks");
}

ordered_json rank_json(const RankFacts& rank, const GridPlace& place) {
  ordered_json devices = ordered_json::array();
  for (const CudaDevice& device : rank.devices) {
    devices.push_back(
        {{"name", device.name}, {"identifier", device.identifier}, {"memory_bytes", device.memory_bytes}});
  }
  return {{"rank", rank.rank},
          {"host", rank.on.name},
          {"data", place.data},
          {"tensor", place.tensor},
          {"process", rank.process},
          {"program", rank.program},
          {"mpi", rank.mpi},
          {"nccl", rank.nccl},
          {"driver", rank.on.driver},
          {"cores", rank.cores},
          {"threads", rank.threads},
          {"devices", devices},
          {"memory_bytes", rank.on.memory_bytes},
          {"free_bytes", rank.on.free_bytes}};
}

ordered_json group_json(const GroupTest& test) {
  return {{"group", test.group},
          {"ranks", test.ranks},
          {"right", test.wrong.empty()},
          {"bytes_per_second", test.bandwidth()},
          {"expected_bytes_per_second", test.expected > 0 ? ordered_json(test.expected) : ordered_json()}};
}

}  // namespace

bool Examination::usable() const {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& one) { return one.fault; });
}

std::string to_text(const Examination& seen) {
  std::string text;
  std::vector<int> hosts;
  for (const RankFacts& rank : seen.ranks) {
    if (std::find(hosts.begin(), hosts.end(), rank.host) == hosts.end()) hosts.push_back(rank.host);
  }
  for (const int host : hosts) {
    text += host_text(seen.ranks[static_cast<std::size_t>(host)]);
    for (const RankFacts& rank : seen.ranks) {
      if (rank.host == host) text += rank_text(rank, seen.places[static_cast<std::size_t>(rank.rank)]);
    }
  }
  text += fmt::format("compute: {}\nsums in float32 ({:.1f} GB/s copied in memory by each rank at once):\n",
                      seen.compute, seen.copies / 1e9);
  for (const GroupTest& test : seen.groups) text += group_text(test);
  if (seen.groups.empty()) text += "  none: one rank\n";
  text += seen.folder ? folder_text(*seen.folder) : "output.dir: not given, so no file system was tested\n";
  for (const Finding& one : seen.findings) text += (one.fault ? "FAULT: " : "warning: ") + one.text + '\n';
  if (seen.findings.empty()) text += "nothing is wrong\n";
  return text;
}

ordered_json to_json(const Examination& seen) {
  ordered_json faults = ordered_json::array(), warnings = ordered_json::array(), ranks = ordered_json::array(),
               groups = ordered_json::array();
  for (const Finding& one : seen.findings) (one.fault ? faults : warnings).push_back(one.text);
  for (const RankFacts& rank : seen.ranks) {
    ranks.push_back(rank_json(rank, seen.places[static_cast<std::size_t>(rank.rank)]));
  }
  for (const GroupTest& test : seen.groups) groups.push_back(group_json(test));
  ordered_json result = {{"command", "doctor"},  {"usable", seen.usable()}, {"faults", faults},
                         {"warnings", warnings}, {"ranks", ranks},          {"groups", groups}};
  if (seen.folder) {
    result["folder"] = {{"path", seen.folder->folder},
                        {"free_bytes", seen.folder->free_bytes},
                        {"write_bytes_per_second", seen.folder->write_bytes_per_second},
                        {"locks", seen.folder->locks}};
  }
  return result;
}

}  // namespace shardora
