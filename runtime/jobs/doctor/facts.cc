#include "runtime/jobs/doctor/facts.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/jobs/doctor/filesystem.h"
#include "runtime/memory/host_memory.h"
#include "runtime/system/proc.h"

namespace shardora {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NetworkInterface, name, address, megabits)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostFacts, name, memory_bytes, free_bytes, limit, shared_memory_bytes, cores, driver,
                                   interfaces, fabric_megabits)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CudaDevice, name, identifier, major, minor, memory_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, rank, host, process, program, mpi, nccl, cuda_driver, cuda_runtime, cores,
                                   threads, omp_threads, mpi_interfaces, devices, device_refusal, on)

namespace {

namespace fs = std::filesystem;

std::int64_t number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value && value > 0 ? value : 0;
}

std::string address_of(const sockaddr& address) {
  std::array<char, NI_MAXHOST> text{};
  const socklen_t bytes = address.sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  const int failed = getnameinfo(&address, bytes, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return failed != 0 ? "" : text.data();
}

// One entry an interface, by its IPv4 address where it has one.
std::vector<NetworkInterface> interfaces() {
  std::vector<NetworkInterface> found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
      const bool works = (one->ifa_flags & IFF_UP) != 0 && (one->ifa_flags & IFF_RUNNING) != 0;
      if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != family || !works) continue;
      if ((one->ifa_flags & IFF_LOOPBACK) != 0) continue;
      const std::string name = one->ifa_name;
      if (std::any_of(found.begin(), found.end(), [&](const auto& known) { return known.name == name; })) continue;
      const std::string address = address_of(*one->ifa_addr);
      if (address.starts_with("fe80:"))
        continue;  // link-local, which every IPv6 interface has: no MPI talks through it
      found.push_back({name, address, number_in("/sys/class/net/" + name + "/speed")});
    }
  }
  freeifaddrs(all);
  return found;
}

// "400 Gb/sec (4X NDR)", of each active port.
std::int64_t fabric_megabits() {
  std::int64_t sum = 0;
  std::error_code ignored;
  for (const auto& device : fs::directory_iterator("/sys/class/infiniband", ignored)) {
    for (const auto& port : fs::directory_iterator(device.path() / "ports", ignored)) {
      const bool active = first_line(port.path() / "state").find("ACTIVE") != std::string::npos;
      if (active) sum += number_in(port.path() / "rate") * 1000;
    }
  }
  return sum;
}

std::int64_t memory_bytes() { return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE); }

}  // namespace

HostFacts look_at_host() {
  const MemoryLimit limit = read_host_memory().shared;
  const bool bounded = !limit.name.empty();
  return {.name = host_name(),
          .memory_bytes = memory_bytes(),
          .free_bytes = bounded ? limit.free_bytes : memory_bytes(),
          .limit = limit.name,
          .shared_memory_bytes = free_bytes("/dev/shm"),
          .cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)),
          .driver = first_line("/sys/module/nvidia/version"),
          .interfaces = interfaces(),
          .fabric_megabits = fabric_megabits()};
}

std::string mpi_interfaces() {
  for (const auto& [variable, mark] :
       {std::pair{"OMPI_MCA_btl_tcp_if_include", ""}, {"OMPI_MCA_btl_tcp_if_exclude", "^"}}) {
    const char* const value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return std::string(mark) + value;
  }
  return {};
}

std::vector<RankFacts> gather_facts(Communicator& world, const RankFacts& mine) {
  const std::string text = nlohmann::json(mine).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::vector<RankFacts> ranks;
  for (const std::string& one : world.gather_text(text)) ranks.push_back(nlohmann::json::parse(one).get<RankFacts>());
  return ranks;
}

}  // namespace shardora
