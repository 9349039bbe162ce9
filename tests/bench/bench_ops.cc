// Every operation at real shapes. Without --benchmark_filter only those of 2048 tokens, hidden size 768 and rank 8 run,
// about a minute; --benchmark_filter=. runs all. The first argument may be --threads=N.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/ops.h"

int main(int argc, char** argv) {
  using namespace shardora;
  std::vector<char*> words(argv, argv + argc);
  std::string usual = "--benchmark_filter=/tokens:2048/hidden:768(/rank:8)?/real_time$";
  int threads = 0;
  constexpr std::string_view kThreads = "--threads=";
  if (words.size() > 1 && std::string_view(words[1]).starts_with(kThreads)) {
    threads = std::atoi(words[1] + kThreads.size());
    words.erase(words.begin() + 1);
  }
  words.insert(words.begin() + 1, usual.data());  // a later one wins
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) return 64;
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kCpu, {.threads = threads});
  benchmark::AddCustomContext("backend", backend->description());
  bench::References references(*backend);
  bench::Registry registry(*backend, references);
  bench::add_products(registry);
  bench::add_attention(registry);
  bench::add_activations(registry);
  bench::add_adaptation(registry);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
