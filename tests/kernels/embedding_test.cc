// Table look-ups and their gradient against loops on the host.
#include "kernels/embedding.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

struct LookupCase {
  std::int64_t tokens, rows, width, first_row;
};
const LookupCase kLookupCases[] = {{0, 5, 8, 0},   {1, 1, 1, 0},     {17, 5, 127, 3},
                                   {70, 9, 16, 2}, {33, 3, 1100, 0}, {9, 5, 12, 2}};

// Ids of [0, 13): several tokens share one, and some stand before or behind the shard.
std::vector<std::int64_t> ids_of(std::int64_t tokens) {
  std::vector<std::int64_t> ids;
  for (std::int64_t t = 0; t < tokens; ++t) ids.push_back(t * t % 13);
  return ids;
}

class Embedding : public support::ActivationTest {};

TEST_P(Embedding, GatherTakesTheRowsHeldHereAndZerosElse) {
  for (const auto& [tokens, rows, width, first_row] : kLookupCases) {
    const Vector table = support::rounded_to_bf16(support::random_vector(rows * width, 1));
    const std::vector<std::int64_t> ids = ids_of(tokens);
    Vector expected;
    for (const std::int64_t id : ids) {
      for (std::int64_t j = 0; j < width; ++j) {
        const std::int64_t row = id - first_row;
        expected.push_back(row >= 0 && row < rows ? table[index(row * width + j)] : 0);
      }
    }
    // A table of either type gives activations of either type.
    const TensorView wide = floats({rows, width}, table), own = activations({rows, width}, table);
    for (const auto& [from, y] :
         {std::pair{wide, unwritten_activations({tokens, width})},
          std::pair{own, unwritten_activations({tokens, width})}, std::pair{own, unwritten({tokens, width})}}) {
      embedding_gather(*backend_, {.table = from, .ids = ints(ids), .first_row = first_row, .y = y});
      support::expect_close(read(y), expected, 0, "y");
    }
  }
}

// In fp32, in the order of the tokens: the same bits.
TEST_P(Embedding, ScatterAddsEveryTokenToItsRowInOrder) {
  for (const auto& [tokens, rows, width, first_row] : kLookupCases) {
    const Vector dy = drawn(tokens * width, 2), before = support::random_vector(rows * width, 3);
    const std::vector<std::int64_t> ids = ids_of(tokens);
    const TensorView dtable = floats({rows, width}, before);
    embedding_scatter(
        *backend_,
        {.dy = activations({tokens, width}, dy), .ids = ints(ids), .first_row = first_row, .dtable = dtable});
    std::vector<float> expected(before.begin(), before.end());
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t row = ids[index(t)] - first_row;
      if (row < 0 || row >= rows) continue;
      for (std::int64_t j = 0; j < width; ++j) {
        expected[index(row * width + j)] += static_cast<float>(dy[index(t * width + j)]);
      }
    }
    EXPECT_EQ(read(dtable), expected);
  }
}

SHARDORA_OVER_TYPES(Embedding);

}  // namespace
}  // namespace shardora
