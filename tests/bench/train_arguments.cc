#include "tests/bench/train_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <sstream>

#include "kernels/check.h"
#include "runtime/jobs/plan/shapes.h"

namespace shardora::bench {
namespace {

namespace po = boost::program_options;

struct Words {
  std::string method, axis, norm_gradient;
};

po::options_description described(TrainArguments& a, Words& words) {
  po::options_description all("Measures whole optimizer steps on a model with random weights in memory");
  AdapterOptions& adapter = a.options.adapter;
  TrainOptions& train = a.options.train;
  const auto size = [] { return po::value<std::int64_t>(); };
  all.add_options()("help", "this text");
  all.add_options()("shape", po::value(&a.shape)->default_value("110M"),
                    "260K, 110M, 8B or another name that plan.shape knows; sizes below win");
  all.add_options()("hidden", size(), "")("intermediate", size(), "")("layers", size(), "")("heads", size(), "");
  all.add_options()("kv-heads", size(), "")("vocabulary", size(), "")("tied", po::value<bool>(), "true or false");
  all.add_options()("method", po::value(&words.method)->default_value("dora"), "dora or lora");
  all.add_options()("rank", po::value(&adapter.rank)->default_value(8), "r");
  all.add_options()("axis", po::value(&words.axis)->default_value("output"), "output or input");
  all.add_options()("norm-gradient", po::value(&words.norm_gradient)->default_value("detached"), "detached or exact");
  all.add_options()("dropout", po::value(&adapter.dropout)->default_value(0), "probability");
  all.add_options()("sequences", po::value(&train.global_batch)->default_value(2), "of a step, over all ranks");
  all.add_options()("length", po::value(&a.length)->default_value(1024), "tokens of a sequence");
  all.add_options()("data", po::value(&a.data), "a dataset file in the place of random sequences of one length");
  all.add_options()("micro-batch-tokens", po::value(&train.micro_batch_tokens)->default_value(8192), "of a rank");
  all.add_options()("backend", po::value(&a.options.parallel.backend)->default_value("cpu"), "cpu or cuda");
  all.add_options()("dtype", po::value(&a.options.model.dtype)->default_value("auto"),
                    "of frozen weights, and on cuda of activations: float32 or bfloat16");
  all.add_options()("communicator", po::value(&a.options.parallel.communicator)->default_value("auto"),
                    "between devices: auto, nccl or host");
  all.add_options()("share-devices", po::bool_switch(&a.options.parallel.share_devices), "several ranks on a device");
  all.add_options()("deterministic", po::bool_switch(&train.deterministic),
                    "the same bits each time; the CPU always is");
  all.add_options()("threads", po::value(&a.options.parallel.threads)->default_value(0), "0: the cores of the mask");
  all.add_options()("instruction-set", po::value(&a.options.parallel.instruction_set)->default_value("auto"),
                    "x86-64, x86-64-v3 or x86-64-v4; auto: the highest that the processor has");
  all.add_options()("tensor", po::value(&a.options.parallel.tensor)->default_value(1), "tensor-parallel size");
  all.add_options()("steps", po::value(&a.steps)->default_value(5), "measured");
  all.add_options()("warmup-steps", po::value(&a.warmup_steps)->default_value(1), "before them");
  all.add_options()("warmup-seconds", po::value(&a.warmup_seconds)->default_value(0), "at least so long");
  return all;
}

template <class Value>
Value one_of(const char* key, const std::string& word, const char* first, Value first_value, const char* second,
             Value second_value) {
  if (word == first) return first_value;
  if (word == second) return second_value;
  refuse(ExitStatus::kUsage, "--{} = {}: expected {} or {}", key, word, first, second);
}

ModelConfig model_of(const std::string& shape, const po::variables_map& given) {
  ModelConfig config = shape_preset(shape, "--shape");
  const auto size = [&](const char* key, std::int64_t otherwise) {
    const std::int64_t value = given.count(key) > 0 ? given[key].as<std::int64_t>() : otherwise;
    if (value < 1) refuse(ExitStatus::kUsage, "--{} = {}: expected at least 1", key, value);
    return value;
  };
  const std::int64_t preset_kv_heads = config.num_key_value_heads, preset_heads = config.num_attention_heads;
  config.hidden_size = size("hidden", config.hidden_size);
  config.intermediate_size = size("intermediate", config.intermediate_size);
  config.num_hidden_layers = size("layers", config.num_hidden_layers);
  config.num_attention_heads = size("heads", preset_heads);
  config.vocab_size = size("vocabulary", config.vocab_size);
  // A preset's KV heads belong to its heads.
  config.num_key_value_heads =
      size("kv-heads", given.count("heads") > 0 ? config.num_attention_heads : preset_kv_heads);
  if (given.count("tied") > 0) config.tie_word_embeddings = given["tied"].as<bool>();
  if (config.hidden_size % config.num_attention_heads != 0 ||
      config.num_attention_heads % config.num_key_value_heads != 0) {
    refuse(ExitStatus::kUsage, "--hidden = {}, --heads = {}, --kv-heads = {}: each must divide the one before",
           config.hidden_size, config.num_attention_heads, config.num_key_value_heads);
  }
  if (given.count("hidden") + given.count("heads") > 0)
    config.head_dim = config.hidden_size / config.num_attention_heads;
  config.sliding_windows.assign(static_cast<std::size_t>(config.num_hidden_layers), 0);
  return config;
}

void require_positive(const TrainArguments& a) {
  const std::pair<const char*, std::int64_t> least_one[] = {{"rank", a.options.adapter.rank},
                                                            {"sequences", a.options.train.global_batch},
                                                            {"length", a.length - 1},
                                                            {"micro-batch-tokens", a.options.train.micro_batch_tokens},
                                                            {"steps", a.steps},
                                                            {"tensor", a.options.parallel.tensor},
                                                            {"threads", a.options.parallel.threads + 1},
                                                            {"warmup-steps", a.warmup_steps + 1}};
  for (const auto& [key, value] : least_one) {
    if (value < 1) refuse(ExitStatus::kUsage, "--{}: too small", key);
  }
}

}  // namespace

std::optional<TrainArguments> parse_train_arguments(int argc, char** argv) {
  TrainArguments a;
  Words words;
  const po::options_description all = described(a, words);
  po::variables_map given;
  try {
    po::store(po::parse_command_line(argc, argv, all), given);
    po::notify(given);
  } catch (const po::error& error) {
    refuse(ExitStatus::kUsage, "{}; see --help", error.what());
  }
  if (given.count("help") > 0) {
    std::ostringstream text;
    text << all;
    fmt::print("{}", text.str());
    return std::nullopt;
  }
  require_positive(a);
  one_of("backend", a.options.parallel.backend, "cpu", 0, "cuda", 0);
  if (a.options.parallel.communicator != "auto") {
    one_of("communicator", a.options.parallel.communicator, "nccl", 0, "host", 0);
  }
  if (a.options.model.dtype != "auto") one_of("dtype", a.options.model.dtype, "float32", 0, "bfloat16", 0);
  a.config = model_of(a.shape, given);
  a.config.max_position_embeddings = std::max<std::int64_t>(a.length, 8192);
  AdapterOptions& adapter = a.options.adapter;
  adapter.alpha = 2 * static_cast<double>(adapter.rank);
  adapter.method = one_of("method", words.method, "dora", AdapterMethod::kDora, "lora", AdapterMethod::kLora);
  adapter.magnitude_axis = one_of("axis", words.axis, "output", MagnitudeAxis::kOutput, "input", MagnitudeAxis::kInput);
  adapter.norm_gradient =
      one_of("norm-gradient", words.norm_gradient, "detached", NormGradient::kDetached, "exact", NormGradient::kExact);
  return a;
}

}  // namespace shardora::bench
