// The Communicator's all-reduce over ranks and sizes. Algorithm bandwidth: bytes / time; bus bandwidth: that times
// 2 (n - 1) / n, what each rank must send and receive whatever the algorithm (as nccl-tests counts). Time: the slowest
// rank's mean over as many calls as fill a tenth of a second, best and median of five. Start it by mpirun; it measures
// 2, 3, … up to all ranks. The last line is one JSON object.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/comm/mpi_communicator.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/system/proc.h"

namespace shardora::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kRounds = 5;
constexpr double kRoundSeconds = 0.1;

double timed(Communicator& group, TensorView values, std::int64_t calls) {
  group.barrier();
  const double begin = monotonic_seconds();
  for (std::int64_t i = 0; i < calls; ++i) group.all_reduce(values, Reduction::kSum, {});
  return group.all_reduce((monotonic_seconds() - begin) / static_cast<double>(calls), Reduction::kMax);
}

Json measure(Communicator& group, std::int64_t bytes) {
  std::vector<float> numbers(static_cast<std::size_t>(bytes) / sizeof(float), 0.0F);
  const TensorView values = view_of(std::span(numbers), {std::ssize(numbers)});
  timed(group, values, 1);
  const double once = timed(group, values, 2);
  const auto calls = static_cast<std::int64_t>(std::clamp(kRoundSeconds / once, 1.0, 10000.0));
  std::vector<double> seconds(kRounds);
  for (double& round : seconds) round = timed(group, values, calls);
  std::sort(seconds.begin(), seconds.end());
  const double size = group.size(), algorithm = static_cast<double>(bytes) / seconds[0] * 1e-9;
  return {{"ranks", group.size()},
          {"bytes", bytes},
          {"seconds", {{"best", seconds[0]}, {"median", seconds[kRounds / 2]}}},
          {"algorithm_gigabytes_per_second", algorithm},
          {"bus_gigabytes_per_second", algorithm * 2 * (size - 1) / size}};
}

void run(int rank, int size, std::int64_t largest) {
  Json rows = Json::array();
  if (rank == 0) {
    fmt::print("| ranks | bytes | µs, best | µs, median | algorithm GB/s | bus GB/s |\n|{}\n",
               " --- |"
               " --- |"
               " --- |"
               " --- |"
               " --- |"
               " --- |");
  }
  for (int ranks = 2; ranks <= size; ++ranks) {
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank < ranks ? 0 : MPI_UNDEFINED, rank, &part);
    if (part == MPI_COMM_NULL) continue;
    MpiCommunicator group(part);
    for (std::int64_t bytes = 256; bytes <= largest; bytes *= 4) {
      const Json row = measure(group, bytes);
      if (rank == 0) {
        fmt::print("| {} | {} | {:.1f} | {:.1f} | {:.2f} | {:.2f} |\n", ranks, bytes,
                   row["seconds"]["best"].get<double>() * 1e6, row["seconds"]["median"].get<double>() * 1e6,
                   row["algorithm_gigabytes_per_second"].get<double>(), row["bus_gigabytes_per_second"].get<double>());
      }
      rows.push_back(row);
    }
  }
  if (rank == 0) fmt::print("{}\n", Json{{"program", "bench_all_reduce"}, {"rows", rows}}.dump());
}

}  // namespace
}  // namespace shardora::bench

// bench_all_reduce [LARGEST_BYTES], 64 MiB if not given.
int main(int argc, char** argv) {
  using namespace shardora;
  try {
    MpiSession session(argc, argv);
    const std::int64_t largest = argc > 1 ? std::atoll(argv[1]) : std::int64_t{64} << 20;
    if (session.world().size() < 2 || largest < 256) {
      fmt::print(stderr,
                 "bench_all_reduce: needs mpirun with 2 ranks or more, and a largest size of 256 bytes or more\n");
      return 64;
    }
    bench::run(session.world().rank(), session.world().size(), largest);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "bench_all_reduce: {}\n", error.what());
    return static_cast<int>(error.status());
  }
}
