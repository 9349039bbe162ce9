// Small passes over activations: exact where the arithmetic is exact.
#include "kernels/elementwise.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

class Elementwise : public support::ActivationTest {};

TEST_P(Elementwise, AddAddsEveryElementOnce) {
  for (const std::int64_t count : {0, 1, 17, 127, 128, 40001}) {
    const Vector x = drawn(count, 1), y = drawn(count, 2);
    const TensorView sum = activations({count}, y);
    add(*backend_, {.x = activations({count}, x), .y = sum});
    Vector expected(y);
    for (std::size_t i = 0; i < x.size(); ++i) expected[i] += x[i];
    expect_output(sum, expected, "y");
  }
}

TEST_P(Elementwise, ColumnSumAddsToWhatIsThere) {
  for (const std::int64_t tokens : {0, 1, 17, 127, 1000}) {
    for (const std::int64_t width : {1, 17, 128, 300}) {
      const Vector dy = drawn(tokens * width, 3);
      Vector expected = support::random_vector(width, 4);
      const TensorView dbias = floats(expected);
      column_sum(*backend_, {.dy = activations({tokens, width}, dy), .dbias = dbias});
      for (std::size_t i = 0; i < dy.size(); ++i) expected[i % index(width)] += dy[i];
      expect_output(dbias, expected, "dbias");
    }
  }
}

TEST_P(Elementwise, ColumnSumDoesNotLoseSmallTermsBesideManyOthers) {
  // Plain fp32 summation stops counting at 2^24; blocks of rows lose only what stands beside the large term.
  Vector dy(5001, 1);
  dy[0] = 0x1p24;
  const TensorView dbias = floats(Vector(1));
  column_sum(*backend_, {.dy = activations({5001, 1}, dy), .dbias = dbias});
  EXPECT_NEAR(read(dbias)[0], 0x1p24 + 5000, 64);
}

TEST_P(Elementwise, ConvertGoesThereAndBack) {
  const Vector values = support::rounded_to_bf16(support::random_vector(17 * 127, 9));
  const TensorView to = unwritten_activations({17, 127}), back = unwritten({17, 127});
  convert(*backend_, {.from = floats({17, 127}, values), .to = to});
  convert(*backend_, {.from = to, .to = back});
  support::expect_close(read(to), values, 0, "converted");
  support::expect_close(read(back), values, 0, "and back");
}

// Rows are moved 16 bytes at a time where their length allows.
constexpr std::int64_t kWidths[] = {1, 5, 6, 7, 8, 520};

TEST_P(Elementwise, GatherTakesTheNamedRows) {
  for (const std::int64_t width : kWidths) {
    const Vector from = drawn(17 * width, 5);
    const std::vector<std::int64_t> rows{0, 3, 3, 16};
    const TensorView to = unwritten_activations({4, width});
    gather_rows(*backend_, {.from = activations({17, width}, from), .rows = ints(rows), .to = to});
    Vector expected;
    for (const std::int64_t row : rows) {
      expected.insert(expected.end(), from.begin() + row * width, from.begin() + (row + 1) * width);
    }
    support::expect_close(read(to), expected, 0, "to");
  }
}

// `expected` [*, width] with row i of `from` at rows[i].
Vector with_rows(Vector expected, const Vector& from, const std::vector<std::int64_t>& rows, std::int64_t width) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(from.begin() + std::ssize(from) / std::ssize(rows) * static_cast<std::int64_t>(i), width,
                expected.begin() + rows[i] * width);
  }
  return expected;
}

TEST_P(Elementwise, ScatterWritesTheNamedRowsAndZerosElsewhere) {
  for (const std::int64_t width : kWidths) {
    for (const std::vector<std::int64_t>& rows :
         {std::vector<std::int64_t>{}, {0}, {16}, {0, 1, 2}, {3, 9, 15}, {0, 16}}) {
      const Vector from = drawn(std::ssize(rows) * width, 6);
      const TensorView to = unwritten_activations({17, width});
      scatter_rows(*backend_, {.from = activations({std::ssize(rows), width}, from), .rows = ints(rows), .to = to});
      support::expect_close(read(to), with_rows(Vector(index(17 * width)), from, rows, width), 0, "to");
    }
  }
}

TEST_P(Elementwise, WriteChangesTheNamedRowsAndNoOther) {
  for (const std::int64_t width : kWidths) {
    for (const std::vector<std::int64_t>& rows : {std::vector<std::int64_t>{}, {16}, {9, 3, 15}, {1, 0}}) {
      const Vector from = drawn(std::ssize(rows) * width, 7), before = drawn(17 * width, 8);
      const TensorView to = activations({17, width}, before);
      write_rows(*backend_, {.from = activations({std::ssize(rows), width}, from), .rows = ints(rows), .to = to});
      support::expect_close(read(to), with_rows(before, from, rows, width), 0, "to");
    }
  }
}

TEST_P(Elementwise, RowsOutsideTheMatrixAreRefused) {
  if (backend_->kind() != BackendKind::kCpu) GTEST_SKIP() << "a device does not check its indices";
  const TensorView small = floats({2, 3}, Vector(6));
  EXPECT_THROW(gather_rows(*backend_, {.from = small, .rows = ints({0, 2}), .to = small}), Error);
  EXPECT_THROW(write_rows(*backend_, {.from = small, .rows = ints({0, 2}), .to = small}), Error);
  EXPECT_THROW(scatter_rows(*backend_, {.from = small, .rows = ints({1, 1}), .to = unwritten({4, 3})}), Error);
}

SHARDORA_OVER_TYPES(Elementwise);

}  // namespace
}  // namespace shardora
