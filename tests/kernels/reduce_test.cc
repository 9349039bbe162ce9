// Sums of squares against float64.
#include "kernels/reduce.h"

#include <cmath>
#include <limits>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

class Reduce : public support::KernelTest {};
class ReduceMatrix : public support::ActivationTest {};

TEST_F(Reduce, SumOfSquaresIsAFloat64Sum) {
  for (const std::int64_t count : {0, 1, 7, 8, 17, 127, 16384, 100001}) {
    const Vector x = support::random_vector(count, 1);
    const double expected = support::dot(x, x);
    EXPECT_NEAR(sum_of_squares(*backend_, floats(x)), expected, 1e-13 * expected) << count;
  }
}

TEST_F(Reduce, SumOfSquaresKeepsSmallTermsBesideALargeOne) {
  Vector x(100001, 1e-4F);
  x[50000] = 1e3;
  EXPECT_NEAR(sum_of_squares(*backend_, floats(x)) - 1e6, 1e5 * 1e-8, 1e-7);
}

TEST_F(Reduce, SumOfSquaresDoesNotOverflowFp32) {
  EXPECT_NEAR(sum_of_squares(*backend_, floats(Vector(17, 1e30F))) / 17e60, 1, 1e-6);
}

TEST_F(Reduce, SumOfSquaresShowsOneBadElementWhereverItStands) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    for (const std::size_t at : {0U, 500U, 16383U, 16384U, 99999U, 100000U}) {
      Vector x(100001, 1.0);
      x[at] = bad;
      EXPECT_FALSE(std::isfinite(sum_of_squares(*backend_, floats(x)))) << bad << " at " << at;
    }
  }
}

TEST_P(ReduceMatrix, RowAndColumnNormsMatchFloat64) {
  for (const std::int64_t rows : {0, 1, 17, 127}) {
    for (const std::int64_t columns : {0, 1, 17, 300}) {
      const Vector x = drawn(rows * columns, 1);
      Vector by_row(index(rows));
      Vector by_column(index(columns));
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        by_row[index(i / columns)] += x[index(i)] * x[index(i)];
        by_column[index(i % columns)] += x[index(i)] * x[index(i)];
      }
      const TensorView row_norms = unwritten({rows});
      const TensorView column_norms = unwritten({columns});
      row_squared_norms(*backend_, {.x = activations({rows, columns}, x), .out = row_norms});
      column_squared_norms(*backend_, {.x = activations({rows, columns}, x), .out = column_norms});
      support::expect_close(read(row_norms), by_row, 1e-7, "rows");
      support::expect_close(read(column_norms), by_column, 1e-7, "columns");
    }
  }
}

SHARDORA_OVER_TYPES(ReduceMatrix);

}  // namespace
}  // namespace shardora
