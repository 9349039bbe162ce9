#include "runtime/comm/process_grid.h"

#include <algorithm>
#include <map>
#include <set>

namespace shardora {
namespace {

std::string divisors(int number) {
  std::string text;
  for (int i = 1; i <= number; ++i) {
    if (number % i == 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", i);
  }
  return text;
}

// All ranks, `tensor` of a group after each other: whole groups of a host, hosts ascending, then what is left over. The
// group of rank 0 comes first.
std::vector<std::size_t> rows_by_host(const std::vector<int>& host_of_rank, std::size_t tensor) {
  std::map<int, std::vector<std::size_t>> hosts;
  for (std::size_t rank = 0; rank < host_of_rank.size(); ++rank) hosts[host_of_rank[rank]].push_back(rank);
  std::vector<std::size_t> order, left;
  for (const auto& [host, ranks] : hosts) {
    const auto whole = static_cast<std::ptrdiff_t>(ranks.size() / tensor * tensor);
    order.insert(order.end(), ranks.begin(), ranks.begin() + whole);
    left.insert(left.end(), ranks.begin() + whole, ranks.end());
  }
  order.insert(order.end(), left.begin(), left.end());
  const auto origin = std::find(order.begin(), order.end(), std::size_t{0}) - order.begin();
  const auto group = origin / static_cast<std::ptrdiff_t>(tensor) * static_cast<std::ptrdiff_t>(tensor);
  std::rotate(order.begin(), order.begin() + group, order.begin() + group + static_cast<std::ptrdiff_t>(tensor));
  return order;
}

}  // namespace

std::vector<GridPlace> place_ranks(const std::vector<int>& host_of_rank, int tensor) {
  const int ranks = static_cast<int>(host_of_rank.size());
  if (tensor < 1 || ranks % tensor != 0) {
    refuse(ExitStatus::kUsage, "parallel.tensor = {} does not divide the {} ranks of this run; expected one of {}",
           tensor, ranks, divisors(ranks));
  }
  const std::vector<std::size_t> order = rows_by_host(host_of_rank, static_cast<std::size_t>(tensor));
  std::vector<GridPlace> places(order.size());
  for (int i = 0; i < ranks; ++i) {
    places[order[static_cast<std::size_t>(i)]] = {.data = i / tensor, .tensor = i % tensor};
  }
  return places;
}

std::string spread_warning(const std::vector<int>& host_of_rank, int tensor) {
  const std::vector<GridPlace> places = place_ranks(host_of_rank, tensor);
  std::map<int, int> ranks_of_host;
  std::map<int, std::set<int>> hosts_of_group;  // by data index
  int most = 0;
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    most = std::max(most, ++ranks_of_host[host_of_rank[rank]]);
    hosts_of_group[places[rank].data].insert(host_of_rank[rank]);
  }
  const auto spread = std::count_if(hosts_of_group.begin(), hosts_of_group.end(),
                                    [](const auto& group) { return group.second.size() > 1; });
  if (spread == 0 || tensor > most) return {};
  return fmt::format(
      "parallel.tensor = {}: {} of {} tensor groups have ranks of several hosts, and every layer waits for the network "
      "there; start a multiple of {} ranks on each host",
      tensor, spread, hosts_of_group.size(), tensor);
}

}  // namespace shardora
