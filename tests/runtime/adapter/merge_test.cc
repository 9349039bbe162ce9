#include "runtime/adapter/merge.h"

#include "tests/runtime/adapter/small_layer.h"

namespace shardora::testing {
namespace {

struct Case {
  const char* name;
  bool output_axis, dora;
};

class LayerMerged : public ::testing::TestWithParam<Case> {
 protected:
  // In blocks of so many rows.
  std::vector<float> merged(const SmallLayer& layer, std::int64_t block_rows) {
    const FoldedModule module = layer.module();
    const std::unique_ptr<Backend> backend = make_backend(BackendKind::kCpu, {.threads = 1});
    LayerMerge merge(*backend, module);
    const auto pass = [&](std::vector<float>& weight, const auto& use) {
      const TensorView all = view_of(std::span(weight), {SmallLayer::kOut, SmallLayer::kIn});
      for (std::int64_t first = 0; first < SmallLayer::kOut; first += block_rows) {
        use(first, all.rows(first, std::min(block_rows, SmallLayer::kOut - first)));
      }
    };
    if (merge.needs_measuring()) {
      std::vector<float> weight = floats(layer.weight);
      pass(weight, [&](std::int64_t first, TensorView rows) { merge.measure(first, rows); });
    }
    std::vector<float> weight = floats(layer.weight);
    pass(weight, [&](std::int64_t first, TensorView rows) { merge.fold(first, rows); });
    return weight;
  }
};

TEST_P(LayerMerged, IsTheFormulaInBlocksOfAnySize) {
  const SmallLayer layer(GetParam().output_axis, GetParam().dora);
  for (const std::int64_t block : {1, 3, 7}) {
    support::expect_close(merged(layer, block), layer.merged(), support::kFp32, "W'");
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, LayerMerged,
                         ::testing::Values(Case{"output", true, true}, Case{"input", false, true},
                                           Case{"lora", true, false}),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

}  // namespace
}  // namespace shardora::testing
