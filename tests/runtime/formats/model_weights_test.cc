// A model folder's weights: strict both ways, one file or many.
#include "runtime/formats/model_weights.h"

#include <nlohmann/json.hpp>

#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Files = std::map<std::string, std::vector<NamedShape>>;

ModelConfig tiny(const std::string& family = "qwen2", bool tied = false) {
  const json document = {
      {"model_type", family},       {"hidden_size", 4},         {"intermediate_size", 6}, {"num_hidden_layers", 2},
      {"num_attention_heads", 2},   {"num_key_value_heads", 1}, {"vocab_size", 5},        {"head_dim", 2},
      {"tie_word_embeddings", tied}};
  return parse_model_config(document.dump(), "config.json");
}

void write_file(const fs::path& path, const std::vector<NamedShape>& tensors, const std::string& dtype = "BF16") {
  std::vector<SafetensorsWriter::Declaration> declarations;
  std::int64_t bytes = 0;
  for (const NamedShape& tensor : tensors) {
    declarations.push_back({tensor.name, dtype, tensor.shape});
    std::int64_t size = safetensors_element_bytes(dtype);
    for (const std::int64_t axis : tensor.shape) size *= axis;
    bytes += size;
  }
  SafetensorsWriter writer(path, declarations, {{"format", "pt"}});
  writer.write(std::vector<std::byte>(static_cast<std::size_t>(bytes)));
  writer.finish();
}

void write_index(const TemporaryFolder& folder, const std::map<std::string, std::string>& weight_map) {
  put(folder / "model.safetensors.index.json",
      json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}}.dump());
}

// The model cut into two files, and the index's map.
std::map<std::string, std::string> write_shards(const TemporaryFolder& folder, const ModelConfig& config) {
  Files files;
  std::map<std::string, std::string> weight_map;
  for (const NamedShape& tensor : expected_tensors(config)) {
    const std::string file = weight_map.size() < 9 ? "b.safetensors" : "a.safetensors";
    files[file].push_back(tensor);
    weight_map[tensor.name] = file;
  }
  for (const auto& [file, tensors] : files) write_file(folder / file, tensors);
  return weight_map;
}

void expect_weights_refused(const TemporaryFolder& folder, const ModelConfig& config, const std::string& part) {
  expect_refused([&] { ModelWeights(folder.path(), config); }, ExitStatus::kBadInput, part);
}

TEST(ExpectedTensors, AreThoseOfTheFamily) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const NamedShape& tensor : expected_tensors(tiny("qwen2"))) shapes[tensor.name] = tensor.shape;
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shapes.size(), 3 + 2 * (2 + 4 + 3 + 3u));
  EXPECT_EQ(shapes.at("model.embed_tokens.weight"), (Shape{5, 4}));
  EXPECT_EQ(shapes.at("lm_head.weight"), (Shape{5, 4}));
  EXPECT_EQ(shapes.at("model.layers.1.self_attn.q_proj.weight"), (Shape{4, 4}));
  EXPECT_EQ(shapes.at("model.layers.1.self_attn.k_proj.weight"), (Shape{2, 4}));
  EXPECT_EQ(shapes.at("model.layers.1.self_attn.v_proj.bias"), (Shape{2}));
  EXPECT_FALSE(shapes.contains("model.layers.1.self_attn.o_proj.bias"));
  EXPECT_EQ(shapes.at("model.layers.0.mlp.gate_proj.weight"), (Shape{6, 4}));
  EXPECT_EQ(shapes.at("model.layers.0.mlp.down_proj.weight"), (Shape{4, 6}));
  std::map<std::string, std::vector<std::int64_t>> normed;
  for (const NamedShape& tensor : expected_tensors(tiny("qwen3", true))) normed[tensor.name] = tensor.shape;
  EXPECT_EQ(normed.at("model.layers.0.self_attn.q_norm.weight"), (Shape{2}));
  EXPECT_FALSE(normed.contains("lm_head.weight"));
  EXPECT_FALSE(normed.contains("model.layers.0.self_attn.q_proj.bias"));
}

TEST(ModelWeights, OpensOneFile) {
  const TemporaryFolder folder;
  std::vector<NamedShape> tensors = expected_tensors(tiny());
  std::reverse(tensors.begin(), tensors.end());
  write_file(folder / "model.safetensors", tensors);
  const ModelWeights weights(folder.path(), tiny());
  EXPECT_EQ(weights.names().front(), "model.embed_tokens.weight");
  EXPECT_EQ(weights.names().size(), tensors.size());
  ASSERT_EQ(weights.layout().size(), 1u);
  EXPECT_EQ(weights.layout()[0].first, "model.safetensors");
  EXPECT_EQ(weights.layout()[0].second.front(), "lm_head.weight");
  EXPECT_TRUE(weights.file_of("model.norm.weight").has("model.norm.weight"));
}

TEST(ModelWeights, OpensManyFilesAndTheCachesLinks) {
  const TemporaryFolder folder;
  write_index(folder, write_shards(folder, tiny()));
  const ModelWeights weights(folder.path(), tiny());
  EXPECT_EQ(weights.layout().size(), 2u);
  EXPECT_EQ(weights.file_of("lm_head.weight").path().filename(), "a.safetensors");
  EXPECT_EQ(weights.file_of("model.embed_tokens.weight").path().filename(), "b.safetensors");

  const TemporaryFolder cache;
  fs::create_directories(cache / "models--x/snapshots/1");
  fs::create_directories(cache / "models--x/blobs");
  for (const char* name : {"a.safetensors", "b.safetensors", "model.safetensors.index.json"}) {
    fs::copy_file(folder / name, cache / ("models--x/blobs/" + std::string(name) + "-hash"));
    fs::create_symlink("../../blobs/" + std::string(name) + "-hash",
                       cache / ("models--x/snapshots/1/" + std::string(name)));
  }
  EXPECT_EQ(ModelWeights(cache / "models--x/snapshots/1", tiny()).fingerprint(), weights.fingerprint());
}

TEST(ModelWeights, TheFingerprintIsOfNamesShapesAndTypesNotOfFiles) {
  const TemporaryFolder one, two, other;
  write_file(one / "model.safetensors", expected_tensors(tiny()));
  write_index(two, write_shards(two, tiny()));
  write_file(other / "model.safetensors", expected_tensors(tiny()), "F16");
  const std::string print = ModelWeights(one.path(), tiny()).fingerprint();
  EXPECT_EQ(ModelWeights(two.path(), tiny()).fingerprint(), print);
  EXPECT_NE(ModelWeights(other.path(), tiny()).fingerprint(), print);
}

TEST(ModelWeights, RefusesMissingExtraMisshapenAndMistypedTensors) {
  const std::vector<NamedShape> good = expected_tensors(tiny());
  const auto refused = [&](const std::vector<NamedShape>& tensors, const std::string& dtype, const std::string& part) {
    const TemporaryFolder folder;
    write_file(folder / "model.safetensors", tensors, dtype);
    expect_weights_refused(folder, tiny(), part);
  };
  std::vector<NamedShape> tensors(good.begin() + 1, good.end());
  refused(tensors, "F32", "'model.embed_tokens.weight', which config.json asks for, is missing");
  tensors = good;
  tensors.push_back({"model.layers.2.mlp.up_proj.weight", {6, 4}});
  refused(tensors, "F32", "'model.layers.2.mlp.up_proj.weight' has no place");
  tensors.back() = {"model.layers.0.self_attn.o_proj.bias", {4}};
  refused(tensors, "F32", "'model.layers.0.self_attn.o_proj.bias' has no place");
  tensors = good;
  tensors[0].shape = {4, 5};
  refused(tensors, "F32", "has shape [4, 5], but config.json asks for [5, 4]");
  tensors[0].shape = {20};
  refused(tensors, "F32", "has shape [20]");
  refused(good, "F64", "has dtype F64, expected F32, BF16 or F16");
  refused(good, "I32", "has dtype I32");
}

TEST(ModelWeights, SkipsKnownBuffersAndATiedHead) {
  std::vector<NamedShape> tensors = expected_tensors(tiny("llama", true));
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {1}});
  tensors.push_back({"lm_head.weight", {5, 4}});
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", tensors);
  const ModelWeights weights(folder.path(), tiny("llama", true));
  EXPECT_EQ(weights.names().size(), tensors.size() - 2);
  EXPECT_EQ(weights.layout()[0].second.size(), tensors.size() - 2);
  const TemporaryFolder misshapen;
  tensors.back().shape = {4, 5};
  write_file(misshapen / "model.safetensors", tensors);
  expect_weights_refused(misshapen, tiny("llama", true), "'lm_head.weight' has shape [4, 5]");
}

TEST(ModelWeights, ComparesAStoredHeadByValueShareByShare) {
  ModelConfig config = tiny("llama", true);
  std::vector<std::uint16_t> bits(5 * 4, 0x3f80);  // 1 in bfloat16
  std::vector<float> ones(bits.size(), 1.0F);
  for (const bool equal : {true, false}) {
    const TemporaryFolder folder;
    TensorMap tensors;
    for (const NamedShape& tensor : expected_tensors(config)) {
      HostTensor host{.dtype = DType::kF32, .shape = tensor.shape, .bytes = {}};
      host.bytes.resize(static_cast<std::size_t>(Shape(tensor.shape).elements()) * sizeof(float));
      for (float& value : host.f32()) value = 1;
      tensors[tensor.name] = host;
    }
    if (!equal) bits.back() = 0x3f81;
    const auto bytes = std::as_bytes(std::span(bits));
    tensors["lm_head.weight"] = {.dtype = DType::kBF16, .shape = {5, 4}, .bytes = {bytes.begin(), bytes.end()}};
    write_safetensors(folder / "model.safetensors", tensors, {});
    std::optional<ModelWeights> weights(std::in_place, folder.path(), config);
    const ModelWeights moved = std::move(*weights);
    EXPECT_EQ(moved.has_another_head(), !equal);
    EXPECT_EQ(moved.has_another_head(6, 7), !equal);
    for (int part = 0; part < 2; ++part) EXPECT_EQ(moved.has_another_head(part, 2), !equal && part == 1);
    EXPECT_EQ(moved.names().size(), expected_tensors(config).size());
    if (equal) continue;
    EXPECT_THAT(use_stored_head(folder.path(), config, weights), testing::HasSubstr("the stored head is used"));
    EXPECT_FALSE(config.tie_word_embeddings);
    EXPECT_EQ(weights->names().back(), "lm_head.weight");
    EXPECT_NE(weights->fingerprint(), moved.fingerprint());
  }
}

TEST(ModelWeights, RefusesAFolderWithoutWeightsOrWithTwoKinds) {
  const TemporaryFolder folder;
  put(folder / "pytorch_model.bin", "pickle");
  expect_weights_refused(folder, tiny(), "has neither model.safetensors nor model.safetensors.index.json");
  write_index(folder, write_shards(folder, tiny()));
  write_file(folder / "model.safetensors", expected_tensors(tiny()));
  expect_weights_refused(folder, tiny(), "has both");
}

TEST(ModelWeights, AnIndexNamesPlainFilesOnly) {
  for (const char* name : {"../b.safetensors", "/etc/b.safetensors", "sub/b.safetensors", "..", ".", "", ".safetensors",
                           "b.bin", "b.safetensors\\u0000.safetensors"}) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    put(folder / "model.safetensors.index.json", fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name));
    expect_weights_refused(folder, tiny(), "expected a plain name");
  }
  const TemporaryFolder folder;
  const auto index = [&](const std::string& text) { put(folder / "model.safetensors.index.json", text); };
  for (const char* text : {"{}", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    index(text);
    expect_weights_refused(folder, tiny(), "has no weight_map");
  }
  index(R"({"weight_map":{"t":7}})");
  expect_weights_refused(folder, tiny(), "is not a file name");
  index(R"({"weight_map":{"t":"a.safetensors","t":"b.safetensors"}})");
  expect_weights_refused(folder, tiny(), "'t' occurs twice");
  index(R"({"weight_map":{"t":"none.safetensors"}})");
  expect_weights_refused(folder, tiny(), "none.safetensors: cannot be opened");
}

TEST(ModelWeights, EveryTensorIsWhereTheIndexSaysOnce) {
  {
    const TemporaryFolder folder;
    auto weight_map = write_shards(folder, tiny());
    weight_map["lm_head.weight"] = "b.safetensors";
    write_index(folder, weight_map);
    expect_weights_refused(folder, tiny(), "'lm_head.weight' is in a.safetensors, but the index says b.safetensors");
  }
  {
    const TemporaryFolder folder;
    auto weight_map = write_shards(folder, tiny());
    weight_map["extra"] = "b.safetensors";
    write_index(folder, weight_map);
    expect_weights_refused(folder, tiny(), "'extra' is not in b.safetensors");
  }
  {
    const TemporaryFolder folder;
    auto weight_map = write_shards(folder, tiny());
    weight_map.erase("lm_head.weight");
    write_index(folder, weight_map);
    expect_weights_refused(folder, tiny(), "the index says nothing of it");
  }
  {
    const TemporaryFolder folder;  // the same tensor in both files
    auto weight_map = write_shards(folder, tiny());
    write_file(folder / "c.safetensors", {{"model.norm.weight", {4}}, {"lm_head.weight", {5, 4}}});
    weight_map["lm_head.weight"] = "c.safetensors";
    write_index(folder, weight_map);
    expect_weights_refused(folder, tiny(), "'lm_head.weight' is in a.safetensors, but the index says c.safetensors");
  }
}

TEST(ModelWeights, RealModelsAreAccepted) {
  const fs::path folder = "/work/shared/data/models/stories260K";
  if (!fs::exists(folder)) GTEST_SKIP() << "this machine does not have the model";
  const ModelConfig config = read_model_config(folder);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(ModelWeights(folder, config).names().size(), 47u);
}

}  // namespace
}  // namespace shardora
