// A dataset file: how many sequences and tokens, what share of them is learned, and how long the sequences are.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/data/dataset.h"
#include "runtime/jobs/inspect/inspect.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

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
  bins.reserve(counts.size());
  for (const auto& [from, count] : counts) bins.push_back({from, 2 * from - 1, count});
  return bins;
}

// Runs of ids with the same mask, as [mask, how many].
ordered_json mask_runs(const Dataset::Sequence& sequence) {
  ordered_json runs = ordered_json::array();
  for (const std::uint8_t mask : sequence.loss_mask) {
    if (runs.empty() || runs.back()[0] != mask) runs.push_back({mask, 0});
    runs.back()[1] = runs.back()[1].get<std::int64_t>() + 1;
  }
  return runs;
}

// Ids with the targets between brackets. shardora-show prints the same as text.
void print_sample(std::int64_t number, const Dataset::Sequence& sequence) {
  constexpr std::size_t kMost = 64;
  std::string text;
  bool target = false;
  for (std::size_t i = 0; i < std::min(sequence.tokens.size(), kMost); ++i) {
    const bool now = sequence.loss_mask[i] != 0;
    text += now == target ? " " : now ? " [" : "] ";
    text += fmt::format("{}", sequence.tokens[i]);
    target = now;
  }
  fmt::print("  sequence {}:{}{}{}\n", number, text, target ? "]" : "",
             sequence.tokens.size() > kMost ? fmt::format(" … {} tokens", sequence.tokens.size()) : "");
}

ordered_json describe_samples(const Dataset& dataset) {
  constexpr std::int64_t kSamples = 2;
  ordered_json samples = ordered_json::array();
  for (std::int64_t i = 0; i < std::min(kSamples, dataset.size()); ++i) {
    const Dataset::Sequence sequence = dataset[i];
    print_sample(i, sequence);
    const ordered_json runs = mask_runs(sequence);
    std::string words;
    for (const ordered_json& run : runs) {
      words += fmt::format("{}{} {}", words.empty() ? "" : ", ", run[1].dump(), run[0] == 0 ? "read" : "learned");
    }
    fmt::print("    {}\n", words);
    samples.push_back({{"sequence", i}, {"tokens", sequence.tokens}, {"mask_runs", runs}});
  }
  return samples;
}

// Sequences whose tokens have all stood in an earlier one.
std::int64_t count_duplicates(const Dataset& dataset) {
  std::set<std::pair<std::uint64_t, std::int64_t>> seen;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    seen.emplace(checksum(std::as_bytes(dataset[i].tokens)), dataset.length(i));
  }
  return dataset.size() - std::ssize(seen);
}

void find_problems(const Dataset& dataset, const std::string& path, const DatasetLimits& limits, Problems& problems) {
  const auto add = [&](std::int64_t count, const std::string& what) {
    if (count > 0) {
      problems.notes.push_back(
          fmt::format("dataset {}: {} of {} sequences {}", printable(path), count, dataset.size(), what));
    }
  };
  std::int64_t overlong = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) overlong += dataset.length(i) > limits.longest ? 1 : 0;
  add(overlong,
      fmt::format("are longer than the model's {} positions: data.overlong says what becomes of them", limits.longest));
  add(dataset.without_targets(), "have no target: they cost time and teach nothing");
  add(count_duplicates(dataset), "repeat an earlier one: shardora-prepare --drop-duplicates leaves them out");
}

}  // namespace

ordered_json inspect_dataset(const std::string& path, const DatasetLimits& limits, Problems& problems) {
  const Dataset dataset(path, limits.vocabulary, std::numeric_limits<std::int64_t>::max(), Overlong::kError);
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
               std::string(static_cast<std::size_t>(std::lround(part * kWidest)), '#'));
  }
  result["samples"] = describe_samples(dataset);
  find_problems(dataset, path, limits, problems);
  return result;
}

}  // namespace shardora
