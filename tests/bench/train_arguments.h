// What bench_train is asked to measure: a model's shape, a method, a step's tokens.
#pragma once

#include <optional>
#include <string>

#include "runtime/formats/model_config.h"
#include "runtime/options.h"

namespace shardora::bench {

struct TrainArguments {
  std::string shape;   // as given, for the report
  ModelConfig config;  // llama
  RunOptions options;  // model, adapter, train and parallel
  std::int64_t length = 0;
  std::string data;  // a dataset file; empty: random tokens, every sequence of `length`
  int steps = 0, warmup_steps = 0;
  double warmup_seconds = 0;  // a processor under load is not as fast as one at rest
};

// None: --help was asked for and printed. Throws Error(kUsage).
std::optional<TrainArguments> parse_train_arguments(int argc, char** argv);

}  // namespace shardora::bench
