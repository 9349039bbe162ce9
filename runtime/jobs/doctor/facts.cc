#include "runtime/jobs/doctor/facts.h"

#include <nlohmann/json.hpp>

namespace shardora {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NetworkInterface, name, address, megabits)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostFacts, name, memory_bytes, free_bytes, limit, shared_memory_bytes, cores, driver,
                                   interfaces, fabric_megabits)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DeviceFacts, name, identifier, memory_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, rank, host, process, program, mpi, nccl, cuda_driver, cuda_runtime, cores,
                                   threads, omp_threads, mpi_interfaces, devices, device_refusal, on)

std::vector<RankFacts> gather_facts(Communicator& world, const RankFacts& mine) {
  const std::string text = nlohmann::json(mine).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::vector<RankFacts> ranks;
  for (const auto& bytes : world.gather(std::as_bytes(std::span(text)), 0)) {
    const auto* const start = reinterpret_cast<const char*>(bytes.data());
    ranks.push_back(nlohmann::json::parse(start, start + bytes.size()).get<RankFacts>());
  }
  return ranks;
}

}  // namespace shardora
