#include "runtime/comm/device_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "runtime/comm/agreement.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

// Who has taken a device of a host.
using Taken = std::map<std::string, std::size_t>;  // identifier -> rank of the world

[[noreturn]] void refuse_rank(const std::vector<RankDevices>& ranks, std::size_t rank, const Taken& taken) {
  const RankDevices& mine = ranks[rank];
  std::vector<std::string> held;
  held.reserve(mine.identifiers.size());
  for (const std::string& identifier : mine.identifiers) {
    held.push_back(fmt::format("{} has rank {}", identifier, taken.at(identifier)));
  }
  const auto on_host = std::count_if(ranks.begin(), ranks.end(), [&](const auto& r) { return r.host == mine.host; });
  refuse(
      ExitStatus::kUnavailable,
      "parallel.backend = cuda: no device is left on host {} for rank {}, one of {} there: it sees {} ({}); start one "
      "rank a device, show each rank its own (CUDA_VISIBLE_DEVICES, or --gpus-per-node with --gpu-bind=none), or "
      "set parallel.share_devices = true to compute on shared ones",
      mine.host_name, rank, on_host, mine.identifiers.size(), fmt::join(held, ", "));
}

std::string packed(const RankDevices& mine) {
  std::string text = fmt::format("{} {}", mine.host, mine.host_name);
  for (const std::string& identifier : mine.identifiers) text += " " + identifier;
  return text;
}

RankDevices unpacked(const std::string& packed_text) {
  std::istringstream text(packed_text);
  RankDevices one;
  text >> one.host >> one.host_name;
  for (std::string identifier; text >> identifier;) one.identifiers.push_back(identifier);
  return one;
}

}  // namespace

std::vector<DeviceChoice> choose_devices(const std::vector<RankDevices>& ranks, bool share) {
  std::map<int, Taken> taken_of_host;
  std::map<int, std::size_t> ranks_of_host;
  std::vector<DeviceChoice> choices;
  bool shared = false;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::vector<std::string>& sees = ranks[rank].identifiers;
    SHARDORA_CHECK(!sees.empty());
    Taken& taken = taken_of_host[ranks[rank].host];
    const std::size_t local_rank = ranks_of_host[ranks[rank].host]++;
    auto free = std::find_if(sees.begin(), sees.end(), [&](const auto& id) { return !taken.contains(id); });
    if (free == sees.end()) {
      if (!share) refuse_rank(ranks, rank, taken);
      shared = true;
      free = sees.begin() + static_cast<std::ptrdiff_t>(local_rank % sees.size());
    }
    taken.emplace(*free, rank);
    choices.push_back({.index = static_cast<int>(free - sees.begin())});
  }
  for (DeviceChoice& choice : choices) choice.shared = shared;
  return choices;
}

DeviceChoice choose_device(Communicator& world, Communicator& host_group, const std::vector<CudaDevice>& devices,
                           bool share) {
  // Hosts are told apart by their lowest rank: two may have one name.
  RankDevices mine{.host = static_cast<int>(host_group.all_reduce(std::int64_t{world.rank()}, Reduction::kMin)),
                   .host_name = host_name(),
                   .identifiers = {}};
  for (const CudaDevice& device : devices) mine.identifiers.push_back(device.identifier);
  std::vector<RankDevices> ranks;
  for (const std::string& text : world.gather_text(packed(mine))) ranks.push_back(unpacked(text));
  std::vector<DeviceChoice> choices(static_cast<std::size_t>(world.size()));
  agree(world, [&] {
    if (world.rank() == 0) choices = choose_devices(ranks, share);
  });
  static_assert(std::is_trivially_copyable_v<DeviceChoice>);
  const auto bytes = static_cast<std::int64_t>(choices.size() * sizeof(DeviceChoice));
  world.broadcast(TensorView{choices.data(), DType::kU8, {bytes}}, 0, {});
  return choices[static_cast<std::size_t>(world.rank())];
}

}  // namespace shardora
