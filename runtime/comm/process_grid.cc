#include "runtime/comm/process_grid.h"

#include <algorithm>
#include <numeric>

namespace shardora {
namespace {

std::string divisors(int number) {
  std::string text;
  for (int i = 1; i <= number; ++i) {
    if (number % i == 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", i);
  }
  return text;
}

}  // namespace

std::vector<GridPlace> place_ranks(const std::vector<int>& host_of_rank, int tensor) {
  const int ranks = static_cast<int>(host_of_rank.size());
  if (tensor < 1 || ranks % tensor != 0) {
    refuse(ExitStatus::kUsage, "parallel.tensor = {} does not divide the {} ranks of this run; expected one of {}",
           tensor, ranks, divisors(ranks));
  }
  std::vector<std::size_t> order(host_of_rank.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return host_of_rank[a] < host_of_rank[b]; });
  std::vector<GridPlace> places(order.size());
  for (int i = 0; i < ranks; ++i) {
    places[order[static_cast<std::size_t>(i)]] = {.data = i / tensor, .tensor = i % tensor};
  }
  return places;
}

}  // namespace shardora
