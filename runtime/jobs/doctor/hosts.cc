// This host by what the kernel says of it.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runtime/jobs/doctor/facts.h"
#include "runtime/memory/host_memory.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::int64_t number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value && value > 0 ? value : 0;
}

std::string address_of(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* const from = address.sa_family == AF_INET
                               ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr)
                               : &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return inet_ntop(address.sa_family, from, text.data(), text.size()) == nullptr ? "" : text.data();
}

// What every IPv6 interface gives itself: no MPI talks through it.
bool is_of_this_link(const sockaddr& address) {
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& bytes = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LINKLOCAL(&bytes);
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
      if (is_of_this_link(*one->ifa_addr)) continue;
      const std::string name = one->ifa_name;
      if (std::any_of(found.begin(), found.end(), [&](const auto& known) { return known.name == name; })) continue;
      found.push_back({name, address_of(*one->ifa_addr), number_in("/sys/class/net/" + name + "/speed")});
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

std::int64_t free_in(const char* folder) {
  struct statvfs place {};
  if (statvfs(folder, &place) != 0) return 0;
  return static_cast<std::int64_t>(place.f_bavail) * static_cast<std::int64_t>(place.f_frsize);
}

}  // namespace

HostFacts look_at_host() {
  const MemoryLimit limit = read_host_memory().shared;
  const bool bounded = !limit.name.empty();
  return {.name = host_name(),
          .memory_bytes = memory_bytes(),
          .free_bytes = bounded ? limit.free_bytes : memory_bytes(),
          .limit = limit.name,
          .shared_memory_bytes = free_in("/dev/shm"),
          .cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)),
          .driver = first_line("/sys/module/nvidia/version"),
          .interfaces = interfaces(),
          .fabric_megabits = fabric_megabits()};
}

std::string told_interfaces() {
  for (const auto& [variable, mark] :
       {std::pair{"OMPI_MCA_btl_tcp_if_include", ""}, {"OMPI_MCA_btl_tcp_if_exclude", "^"}}) {
    const char* const value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return std::string(mark) + value;
  }
  return {};
}

}  // namespace shardora
