// Random fills on the CPU. Each element's bits depend on its logical place only: not on the split, and not on the
// instruction set, so that every level starts from the same values.
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/philox.h"

namespace shardora::cpu {
namespace {

template <class Draw>
void fill(const RandomFill& op, const Draw& draw) {
  const std::int64_t rows = op.out.size(0);
  const std::int64_t columns = op.out.size(1);
  SHARDORA_CHECK(op.first_row >= 0 && op.first_column >= 0 && op.first_column + columns <= op.logical_columns);
  auto* out = op.out.as<float>();
  const std::int64_t first = op.first_row * op.logical_columns + op.first_column;
  const std::int64_t stride = op.logical_columns;
  const std::uint64_t key = op.key.value;
  for_each_row(rows, columns * 8, [=](std::int64_t i) {  // a draw costs several plain elements
    const std::int64_t row = first + i * stride;
    for (std::int64_t j = 0; j < columns; ++j) {
      out[i * columns + j] = draw(philox::words_at(key, static_cast<std::uint64_t>(row + j)));
    }
  });
}

}  // namespace

void fill_uniform(const RandomFill& op) {
  const float low = op.low;
  const float high = op.high;
  const float below_high = std::nextafter(high, low);
  fill(op, [=](philox::Words words) { return philox::uniform(words, low, high, below_high); });
}

void fill_normal(const RandomFill& op) {
  const float mean = op.low;
  const float deviation = op.high;
  fill(op, [=](philox::Words words) { return philox::normal(words, mean, deviation); });
}

}  // namespace shardora::cpu
