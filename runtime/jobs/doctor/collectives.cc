#include "runtime/jobs/doctor/collectives.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/comm/agreement.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

constexpr std::int64_t kSizes[] = {std::int64_t{4} << 10, std::int64_t{256} << 10, std::int64_t{4} << 20,
                                   std::int64_t{32} << 20};
constexpr std::int64_t kLargestOfDevices = std::int64_t{256} << 20;
constexpr double kTimeOfASize = 0.1;                 // seconds spent on it, about
constexpr double kSlowest = 0.1;                     // of one sum: a larger one would tell no more, and take seconds
constexpr std::int64_t kPeriod = 31, kFactors = 16;  // sums of thousands of ranks are exact in float32

float share(int rank, std::int64_t element) {
  return static_cast<float>((rank % kFactors + 1) * (element % kPeriod + 1));
}

float sum_of_shares(int ranks, std::int64_t element) {
  std::int64_t factors = 0;
  for (int rank = 0; rank < ranks; ++rank) factors += rank % kFactors + 1;
  return static_cast<float>(factors * (element % kPeriod + 1));
}

// One axis of the grid, or the world.
class GroupTester {
 public:
  GroupTester(const ProcessGrid& grid, Communicator& group, Backend& backend)
      : world_(*grid.world), group_(group), backend_(backend) {}

  void run(GroupTest& test, const std::function<void(const std::string&)>& say) {
    std::vector<std::int64_t> sizes(std::begin(kSizes), std::end(kSizes));
    if (on_device()) sizes.push_back(kLargestOfDevices);
    for (const std::int64_t bytes : sizes) {
      say(fmt::format("sums over the {} group{}, {} KiB", test.group, test.group == "world" ? "" : "s", bytes >> 10));
      time_size(test, bytes);
      if (!test.wrong.empty() || test.sums.back().seconds > kSlowest) break;
    }
  }

 private:
  bool on_device() const { return &group_ != &group_.host(); }

  void time_size(GroupTest& test, std::int64_t bytes) {
    const std::int64_t elements = bytes / 4;
    std::vector<float> values(static_cast<std::size_t>(elements));
    for (std::int64_t i = 0; i < elements; ++i) values[static_cast<std::size_t>(i)] = share(group_.rank(), i);
    const TensorView host = view_of(std::span(values), {elements});
    DeviceBuffer memory;
    TensorView view = host;
    if (on_device()) {
      memory = DeviceBuffer(backend_, bytes);
      view.data = memory.data();
      backend_.copy_from_host(view, host);
      backend_.synchronize();
    }
    double seconds = time_sums(view, 1);
    if (on_device()) {
      backend_.copy_to_host(host, view);
      backend_.synchronize();
    }
    test.wrong = first_wrong(values);
    std::fill(values.begin(), values.end(), 0.0F);  // repeated sums must not overflow
    if (on_device()) backend_.zero(view);
    const auto repeats = static_cast<int>(std::clamp(kTimeOfASize / std::max(seconds, 1e-9), 1.0, 1000.0));
    seconds = time_sums(view, repeats);
    test.sums.push_back({.bytes = bytes, .seconds = seconds});
  }

  // Seconds of the fastest, the same on every rank: of the slowest group. What the way can do, whatever else runs.
  double time_sums(TensorView view, int repeats) {
    world_.barrier();
    double fastest = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) {
      const double begin = monotonic_seconds();
      const Event ready = on_device() ? backend_.record() : Event{};
      const Event done = group_.all_reduce(view, Reduction::kSum, ready);
      Communicator* const groups[] = {&group_};
      if (on_device()) wait_on_host(backend_, done, groups);
      fastest = std::min(fastest, monotonic_seconds() - begin);
    }
    return world_.all_reduce(fastest, Reduction::kMax);
  }

  // On every rank: that of the lowest that has one.
  std::string first_wrong(const std::vector<float>& values) {
    std::string mine;
    for (std::int64_t i = 0; i < std::ssize(values) && mine.empty(); ++i) {
      const float expected = sum_of_shares(group_.size(), i), found = values[static_cast<std::size_t>(i)];
      if (found != expected)
        mine = fmt::format("rank {}: element {} is {:g}, expected {:g}", world_.rank(), i, found, expected);
    }
    return first_text(world_, mine);
  }

  Communicator &world_, &group_;
  Backend& backend_;
};

// Whether any group of this axis has ranks of two hosts. Collective.
bool crosses_hosts(const ProcessGrid& grid, Communicator& group) {
  const std::int64_t mine = grid.hosts[static_cast<std::size_t>(grid.world->rank())];
  Communicator& host = group.host();
  const bool two = host.all_reduce(mine, Reduction::kMin) != host.all_reduce(mine, Reduction::kMax);
  return grid.world->all_reduce(std::int64_t{two}, Reduction::kMax) == 1;
}

}  // namespace

double GroupTest::bandwidth() const {
  double best = 0;
  for (const TimedSum& sum : sums) {
    best = std::max(best, 2.0 * (ranks - 1) / ranks * static_cast<double>(sum.bytes) / std::max(sum.seconds, 1e-12));
  }
  return best;
}

std::vector<GroupTest> test_collectives(const ProcessGrid& grid, Backend& backend,
                                        const std::function<void(const std::string&)>& say) {
  const std::pair<const char*, Communicator*> groups[] = {
      {"world", grid.world}, {"tensor", grid.tensor_group}, {"data", grid.data_group}};
  std::vector<GroupTest> tests;
  for (const auto& [name, group] : groups) {
    if (group->size() == 1) continue;
    GroupTest test{.group = name, .ranks = group->size(), .crosses_hosts = crosses_hosts(grid, *group)};
    GroupTester(grid, *group, backend).run(test, say);
    tests.push_back(std::move(test));
  }
  return tests;
}

double measure_copies(Communicator& world) {
  constexpr std::size_t kBytes = std::size_t{32} << 20;  // beyond the caches of most
  std::vector<char> from(kBytes, 'a'), to(kBytes, 'b');
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    world.barrier();
    const double begin = monotonic_seconds();
    std::memcpy(to.data(), from.data(), kBytes);
    from[static_cast<std::size_t>(i)] = to[static_cast<std::size_t>(i) + 1];  // so that no copy is left out
    best = std::max(best, static_cast<double>(kBytes) / (monotonic_seconds() - begin));
  }
  return world.all_reduce(best, Reduction::kMin);
}

void expect(GroupTest& test, const LinkFacts& links) {
  if (test.crosses_hosts) {
    if (links.network <= 0) return;
    test.expected = links.network / links.ranks_on_host;
    test.expectation = links.network_name;
    if (links.ranks_on_host > 1) test.expectation += fmt::format(", shared by {} ranks", links.ranks_on_host);
  } else if (!links.through_host && test.group != "world") {
    if (links.device_link <= 0) return;
    test.expected = links.device_link;
    test.expectation = "the links of such a device, as its vendor states them";
  } else {
    // There and back a byte is copied into shared memory and out of it, and on the way there added (one read and a half
    // more): 2.75 copies for each way, and what messages cost.
    test.expected = links.copies / 4;
    test.expectation = "a quarter of this host's copies by all ranks at once: into shared memory, out of it, the sum";
  }
}

Findings judge_collectives(const std::vector<GroupTest>& tests) {
  constexpr double kShare = 1.0 / 3;
  Findings findings;
  for (const GroupTest& test : tests) {
    if (!test.wrong.empty()) {
      findings.push_back({true, fmt::format("sums over the {} group are wrong ({}): a link, a device or its memory is "
                                            "broken; take that host out",
                                            test.group, test.wrong)});
    }
    if (test.expected <= 0 || test.bandwidth() >= kShare * test.expected) continue;
    findings.push_back(
        {false, fmt::format("sums over the {} group reach {:.2f} GB/s, less than a third of {:.2f} GB/s ({}): {}",
                            test.group, test.bandwidth() / 1e9, test.expected / 1e9, test.expectation,
                            test.crosses_hosts
                                ? "see which interface is used (OMPI_MCA_btl_tcp_if_include, NCCL_SOCKET_IFNAME)"
                                : "see that no ranks share a core and that nothing else runs there")});
  }
  return findings;
}

}  // namespace shardora
