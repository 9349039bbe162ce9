// Each element's bits depend on its logical place only: not on the split, and the same as on the CPU.
#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.h"
#include "kernels/philox.h"

namespace shardora::cuda {
namespace {

struct Uniform {
  float low, high, below_high;
  __device__ float operator()(philox::Words words) const { return philox::uniform(words, low, high, below_high); }
};
struct Normal {
  float mean, deviation;
  __device__ float operator()(philox::Words words) const { return philox::normal(words, mean, deviation); }
};

template <class Draw>
__global__ void fill_kernel(float* out, std::uint64_t key, std::int64_t first, std::int64_t stride, Draw draw,
                            RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  const auto index = static_cast<std::uint64_t>(first + place.row * stride + place.item);
  out[place.row * work.items + place.item] = draw(philox::words_at(key, index));
}

template <class Draw>
void fill(Backend& backend, const RandomFill& op, Draw draw) {
  const std::int64_t rows = op.out.size(0), columns = op.out.size(1);
  SHARDORA_CHECK(op.first_row >= 0 && op.first_column >= 0 && op.first_column + columns <= op.logical_columns);
  over_rows(rows, columns, [&](dim3 grid, dim3 block, const RowWork& work) {
    launch(fill_kernel<Draw>, grid, block, 0, stream_of(backend), op.out.as<float>(), op.key.value,
           op.first_row * op.logical_columns + op.first_column, op.logical_columns, draw, work);
  });
}

}  // namespace

void fill_uniform(Backend& backend, const RandomFill& op) {
  fill(backend, op, Uniform{op.low, op.high, std::nextafter(op.high, op.low)});
}

void fill_normal(Backend& backend, const RandomFill& op) { fill(backend, op, Normal{op.low, op.high}); }

}  // namespace shardora::cuda
