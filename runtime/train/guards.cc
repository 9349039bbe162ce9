#include "runtime/train/guards.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "kernels/checksum.h"
#include "runtime/comm/agreement.h"

namespace shardora {
namespace {

constexpr std::array<const char*, 3> kParts = {"the value", "the first moment", "the second moment"};

// A rank's tensor coordinate, then the checksums of all parts of all parameters.
std::vector<std::uint64_t> own_checksums(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters) {
  std::vector<std::uint64_t> sums = {static_cast<std::uint64_t>(grid.tensor.rank)};
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    for (const TensorView part : {parameters.value(i), parameters.moment1(i), parameters.moment2(i)}) {
      sums.push_back(checksum_words(backend, part));
    }
  }
  return sums;
}

// Those of `sums` that most others do not have; all of them where no sum is more frequent than the others.
std::vector<std::size_t> outliers(const std::map<std::size_t, std::uint64_t>& sums) {
  std::map<std::uint64_t, int> votes;
  for (const auto& [rank, sum] : sums) ++votes[sum];
  int most = 0, leaders = 0;
  for (const auto& [sum, count] : votes) {
    leaders = count > most ? 1 : leaders + (count == most ? 1 : 0);
    most = std::max(most, count);
  }
  std::vector<std::size_t> ranks;
  for (const auto& [rank, sum] : sums) {
    if (leaders > 1 || votes[sum] < most) ranks.push_back(rank);
  }
  return votes.size() > 1 ? ranks : std::vector<std::size_t>();
}

std::string difference(const std::vector<std::vector<std::uint64_t>>& ranks, const ParameterSet& parameters) {
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    const bool replicated = parameter.offset < parameters.replicated_elements();
    for (std::size_t part = 0; part < kParts.size(); ++part) {
      std::map<std::uint64_t, std::map<std::size_t, std::uint64_t>> classes;  // of ranks that must hold the same
      for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
        classes[replicated ? 0 : ranks[rank][0]][rank] = ranks[rank][1 + i * kParts.size() + part];
      }
      for (const auto& [name, sums] : classes) {
        const std::vector<std::size_t> wrong = outliers(sums);
        if (wrong.empty()) continue;
        return fmt::format("{} of {} differs on rank {} from its other replicas", kParts[part], parameter.name,
                           fmt::join(wrong, " and rank "));
      }
    }
  }
  return "replicas differ in what stands between their tensors";
}

// Where the groups' sums have said that something differs: which tensor, on whom.
std::string name_difference(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters) {
  const std::vector<std::uint64_t> mine = own_checksums(backend, grid, parameters);
  std::vector<std::vector<std::uint64_t>> ranks;
  for (const auto& bytes : grid.world->gather(std::as_bytes(std::span(mine)), 0)) {
    ranks.emplace_back(bytes.size() / sizeof(std::uint64_t));
    std::memcpy(ranks.back().data(), bytes.data(), bytes.size());
  }
  return ranks.empty() ? std::string() : difference(ranks, parameters);
}

}  // namespace

FrozenGuard::FrozenGuard(Backend& backend, Decoder& decoder) : backend_(backend) {
  for (Decoder::FrozenBytes& weight : decoder.frozen_bytes()) {
    const std::uint64_t sum = checksum_words(backend_, weight.bytes);
    all_.push_back({std::move(weight), sum});
  }
}

void FrozenGuard::check(int rank) const {
  for (const Guarded& guarded : all_) {
    const std::uint64_t now = checksum_words(backend_, guarded.weight.bytes);
    if (now == guarded.checksum) continue;
    refuse(ExitStatus::kCorruption,
           "frozen tensor {} has changed in the memory of rank {} (checksum {:016x} when loaded, {:016x} now): nothing "
           "was saved since the last check that passed; resume from the last checkpoint on another machine, and look "
           "at this one's memory",
           guarded.weight.name, rank, guarded.checksum, now);
  }
}

std::int64_t FrozenGuard::bytes() const {
  std::int64_t total = 0;
  for (const Guarded& guarded : all_) total += guarded.weight.bytes.bytes();
  return total;
}

void require_equal_replicas(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters) {
  const std::int64_t replicated = parameters.replicated_elements();
  bool tensor_equal = true, data_equal = true;
  for (const TensorView flat : {parameters.values(), parameters.moments1(), parameters.moments2()}) {
    const auto equal = [&](Communicator& group, TensorView view) {
      const auto mine = static_cast<std::int64_t>(checksum_words(backend, view));
      return group.all_reduce(mine, Reduction::kMin) == group.all_reduce(mine, Reduction::kMax);
    };
    tensor_equal = equal(*grid.tensor_group, flat.rows(0, replicated)) && tensor_equal;
    data_equal = equal(*grid.data_group, flat) && data_equal;
  }
  const bool mine = tensor_equal && data_equal;
  if (grid.world->all_reduce(std::int64_t{mine}, Reduction::kMin) == 1) return;
  const std::string found = name_difference(backend, grid, parameters);
  throw AgreedError(ExitStatus::kCorruption,
                    found.empty() ? found
                                  : found +
                                        ": replicated state has changed by itself; nothing was saved; resume from "
                                        "the last checkpoint, and check that machine's memory");
}

void MemoryGuards::check(std::int64_t step) {
  if (checked_step_ == step) return;
  const ProcessGrid& grid = context_.grid;
  agree(*grid.world, [&] { frozen_.check(grid.world->rank()); });
  require_equal_replicas(context_.backend, grid, model_.parameters());
  checked_step_ = step;
}

std::optional<Straggler> find_straggler(std::span<const double> seconds_of_ranks) {
  if (seconds_of_ranks.size() < 2) return std::nullopt;
  std::vector<double> sorted(seconds_of_ranks.begin(), seconds_of_ranks.end());
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted[(sorted.size() - 1) / 2];
  const auto slowest = std::max_element(seconds_of_ranks.begin(), seconds_of_ranks.end());
  if (median <= 0 || *slowest <= kSlow * median) return std::nullopt;
  return Straggler{.rank = static_cast<int>(slowest - seconds_of_ranks.begin()), .ratio = *slowest / median};
}

std::optional<std::string> StragglerWatch::step(Communicator& world, double own_seconds) {
  seconds_ += own_seconds;
  if (world.size() == 1 || ++steps_ < kSteps) return std::nullopt;
  std::vector<double> all(static_cast<std::size_t>(world.size()));
  all[static_cast<std::size_t>(world.rank())] = std::exchange(seconds_, 0);
  steps_ = 0;
  world.host().all_reduce(view_of(std::span(all), {world.size()}), Reduction::kSum, Event{});
  const std::optional<Straggler> slow = find_straggler(all);
  const int rank = slow ? slow->rank : -1;
  windows_ = rank >= 0 && rank == slow_rank_ ? windows_ + 1 : 1;
  slow_rank_ = rank;
  if (rank < 0 || windows_ != kWindows) return std::nullopt;
  return fmt::format(
      "rank {} is slow: its own compute time is {:.1f} times the median over the last {} steps; the others "
      "wait for it: look at its host",
      rank, slow->ratio, kSteps * kWindows);
}

}  // namespace shardora
