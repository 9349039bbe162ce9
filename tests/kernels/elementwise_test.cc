// Small passes over activations: exact where the arithmetic is exact.
#include "kernels/elementwise.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

class Elementwise : public support::KernelTest {};

TEST_F(Elementwise, AddAddsEveryElementOnce) {
  for (const std::int64_t count : {0, 1, 17, 127, 40001}) {
    const Vector x = support::random_vector(count, 1);
    const Vector y = support::random_vector(count, 2);
    const TensorView sum = floats(y);
    add(*backend_, {.x = floats(x), .y = sum});
    Vector expected(y);
    for (std::size_t i = 0; i < x.size(); ++i) expected[i] += x[i];
    support::expect_close(read(sum), expected, kFp32, "y");
  }
}

TEST_F(Elementwise, ColumnSumAddsToWhatIsThere) {
  for (const std::int64_t tokens : {0, 1, 17, 127, 1000}) {
    for (const std::int64_t width : {1, 17, 127, 300}) {
      const Vector dy = support::random_vector(tokens * width, 3);
      Vector expected = support::random_vector(width, 4);
      const TensorView dbias = floats(expected);
      column_sum(*backend_, {.dy = floats({tokens, width}, dy), .dbias = dbias});
      for (std::size_t i = 0; i < dy.size(); ++i) expected[i % index(width)] += dy[i];
      support::expect_close(read(dbias), expected, kFp32, "dbias");
    }
  }
}

TEST_F(Elementwise, ColumnSumDoesNotLoseSmallTermsBesideManyOthers) {
  // Plain fp32 summation stops counting at 2^24; blocks of rows lose only what stands beside the large term.
  Vector dy(5001, 1);
  dy[0] = 0x1p24;
  const TensorView dbias = floats(Vector(1));
  column_sum(*backend_, {.dy = floats({5001, 1}, dy), .dbias = dbias});
  EXPECT_NEAR(read(dbias)[0], 0x1p24 + 5000, 64);
}

TEST_F(Elementwise, GatherTakesTheNamedRows) {
  const Vector from = support::random_vector(17 * 5, 5);
  const std::vector<std::int64_t> rows{0, 3, 3, 16};
  const TensorView to = unwritten({4, 5});
  gather_rows(*backend_, {.from = floats({17, 5}, from), .rows = ints(rows), .to = to});
  Vector expected;
  for (const std::int64_t row : rows)
    expected.insert(expected.end(), from.begin() + row * 5, from.begin() + row * 5 + 5);
  support::expect_close(read(to), expected, 0, "to");
}

TEST_F(Elementwise, ScatterWritesTheNamedRowsAndZerosElsewhere) {
  for (const std::vector<std::int64_t>& rows :
       {std::vector<std::int64_t>{}, {0}, {16}, {0, 1, 2}, {3, 9, 15}, {0, 16}}) {
    const auto count = static_cast<std::int64_t>(rows.size());
    const Vector from = support::random_vector(count * 5, 6);
    const TensorView to = unwritten({17, 5});
    scatter_rows(*backend_, {.from = floats({count, 5}, from), .rows = ints(rows), .to = to});
    Vector expected(17 * 5);
    for (std::size_t i = 0; i < from.size(); ++i) expected[index(rows[i / 5] * 5) + i % 5] = from[i];
    support::expect_close(read(to), expected, 0, "to");
  }
}

TEST_F(Elementwise, WriteChangesTheNamedRowsAndNoOther) {
  for (const std::vector<std::int64_t>& rows : {std::vector<std::int64_t>{}, {16}, {9, 3, 15}, {1, 0}}) {
    const auto count = static_cast<std::int64_t>(rows.size());
    const Vector from = support::random_vector(count * 5, 7);
    Vector expected = support::random_vector(17 * 5, 8);
    const TensorView to = floats({17, 5}, expected);
    write_rows(*backend_, {.from = floats({count, 5}, from), .rows = ints(rows), .to = to});
    for (std::size_t i = 0; i < from.size(); ++i) expected[index(rows[i / 5] * 5) + i % 5] = from[i];
    support::expect_close(read(to), expected, 0, "to");
  }
}

TEST_F(Elementwise, RowsOutsideTheMatrixAreRefused) {
  if (backend_->kind() != BackendKind::kCpu) GTEST_SKIP() << "a device does not check its indices";
  const TensorView small = floats({2, 3}, Vector(6));
  EXPECT_THROW(gather_rows(*backend_, {.from = small, .rows = ints({0, 2}), .to = small}), Error);
  EXPECT_THROW(write_rows(*backend_, {.from = small, .rows = ints({0, 2}), .to = small}), Error);
  EXPECT_THROW(scatter_rows(*backend_, {.from = small, .rows = ints({1, 1}), .to = unwritten({4, 3})}), Error);
}

}  // namespace
}  // namespace shardora
