// A weight that trains, made of the plain operations.
#include "kernels/weight_matrix.h"

#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/reduce.h"

namespace shardora {

TrainableMatrix::TrainableMatrix(Backend& backend, TensorView weight, TensorView dweight)
    : backend_(backend), weight_(weight), dweight_(dweight) {
  SHARDORA_CHECK(weight.dtype == DType::kF32 && weight.shape.rank() == 2);
  SHARDORA_CHECK(!dweight || (dweight.dtype == DType::kF32 && dweight.shape == weight.shape));
}

void TrainableMatrix::forward(TensorView x, TensorView y, bool accumulate) const {
  matmul(backend_, {.a = x, .b = weight_, .c = y, .transpose_b = true, .accumulate = accumulate});
}

void TrainableMatrix::input_gradient(TensorView du, TensorView dx, bool accumulate) const {
  matmul(backend_, {.a = du, .b = weight_, .c = dx, .accumulate = accumulate});
}

void TrainableMatrix::gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const {
  embedding_gather(backend_, {.table = weight_, .ids = ids, .first_row = first_row, .y = y});
}

void TrainableMatrix::read_rows(std::int64_t first, TensorView rows) const {
  backend_.copy(rows, weight_.rows(first, rows.size(0)));
}

void TrainableMatrix::row_squared_norms(TensorView out) const {
  shardora::row_squared_norms(backend_, {.x = weight_, .out = out});
}

void TrainableMatrix::column_squared_norms(TensorView out) const {
  shardora::column_squared_norms(backend_, {.x = weight_, .out = out});
}

void TrainableMatrix::weight_gradient(TensorView dy, TensorView x) const {
  matmul(backend_, {.a = dy, .b = x, .c = dweight_, .transpose_a = true, .accumulate = true});
}

void TrainableMatrix::scatter_rows(TensorView ids, std::int64_t first_row, TensorView dy) const {
  embedding_scatter(backend_, {.dy = dy, .ids = ids, .first_row = first_row, .dtable = dweight_});
}

}  // namespace shardora
