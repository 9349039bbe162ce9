// A dataset file: how many sequences and tokens, what share of them is learned, and how long the sequences are.
#include <fmt/format.h>

#include <bit>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "launch/commands/inspect.h"
#include "runtime/data/dataset.h"
#include "runtime/io/json.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

struct Bin {
  std::int64_t from = 0, to = 0, sequences = 0;  // lengths, both ends included
};

// Bins from one power of two to the next.
std::vector<Bin> length_histogram(const Dataset& dataset) {
  std::map<std::int64_t, std::int64_t> counts;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    ++counts[static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(dataset.length(i))))];
  }
  std::vector<Bin> bins;
  for (const auto& [from, count] : counts) bins.push_back({from, 2 * from - 1, count});
  return bins;
}

}  // namespace

ordered_json inspect_dataset(const std::string& path, std::int64_t vocabulary) {
  const Dataset dataset(path, vocabulary, std::numeric_limits<std::int64_t>::max(), Overlong::kError);
  const double share = static_cast<double>(dataset.targets()) / static_cast<double>(dataset.tokens());
  ordered_json result = {{"path", path},
                         {"sequences", dataset.size()},
                         {"tokens", dataset.tokens()},
                         {"targets", dataset.targets()},
                         {"targets_share", share},
                         {"longest", dataset.longest()},
                         {"lengths", ordered_json::array()},
                         {"metadata", dataset.metadata()}};
  fmt::print("dataset {}: {} sequences, {} tokens, {} targets ({:.1f} %)\n", printable(path), dataset.size(),
             dataset.tokens(), dataset.targets(), 100 * share);
  for (const auto& [key, value] : dataset.metadata()) fmt::print("  {}: {}\n", printable(key), printable(value));
  constexpr double kWidest = 50;
  for (const Bin& bin : length_histogram(dataset)) {
    result["lengths"].push_back({{"from", bin.from}, {"to", bin.to}, {"sequences", bin.sequences}});
    const double part = static_cast<double>(bin.sequences) / static_cast<double>(dataset.size());
    fmt::print("  {:>8} to {:<8} {:>10} {}\n", bin.from, bin.to, bin.sequences,
               std::string(static_cast<std::size_t>(part * kWidest + 0.5), '#'));
  }
  return result;
}

}  // namespace shardora
