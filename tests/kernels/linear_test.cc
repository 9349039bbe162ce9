// Matrix products and the transpose against float64.
#include "kernels/linear.h"

#include <limits>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

Vector transposed(const Vector& x, std::int64_t rows, std::int64_t columns) {
  Vector y(x.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) y[index(j * rows + i)] = x[index(i * columns + j)];
  }
  return y;
}

// start + scale * a [m,k] * b [k,n]
Vector reference(const Vector& start, const Vector& a, const Vector& b, double scale, std::int64_t m, std::int64_t k,
                 std::int64_t n) {
  Vector c = start;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t l = 0; l < k; ++l) {
      for (std::int64_t j = 0; j < n; ++j) c[index(i * n + j)] += scale * a[index(i * k + l)] * b[index(l * n + j)];
    }
  }
  return c;
}

class Linear : public support::KernelTest {
 protected:
  void compare(std::int64_t m, std::int64_t k, std::int64_t n, bool transpose_a, bool transpose_b, bool accumulate) {
    SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << (transpose_a ? " A^T" : "")
                                    << (transpose_b ? " B^T" : "") << (accumulate ? " +=" : " ="));
    const Vector a = support::random_vector(m * k, 1);
    const Vector b = support::random_vector(k * n, 2);
    const Vector start = accumulate ? support::random_vector(m * n, 3) : Vector(index(m * n));
    const Vector garbage(index(m * n), std::numeric_limits<double>::quiet_NaN());
    const TensorView c = floats({m, n}, accumulate ? start : garbage);
    matmul(*backend_, {.a = transpose_a ? floats({k, m}, transposed(a, m, k)) : floats({m, k}, a),
                       .b = transpose_b ? floats({n, k}, transposed(b, k, n)) : floats({k, n}, b),
                       .c = c,
                       .transpose_a = transpose_a,
                       .transpose_b = transpose_b,
                       .scale = 0.75F,
                       .accumulate = accumulate});
    support::expect_close(read(c), reference(start, a, b, 0.75, m, k, n), kFp32, "c");
  }
};

TEST_F(Linear, ProductMatchesFloat64AtEverySizeAndTransposition) {
  for (const std::int64_t m : {0, 1, 17, 127}) {
    for (const std::int64_t k : {0, 1, 17, 127}) {
      for (const std::int64_t n : {0, 1, 17, 127}) {
        for (int flags = 0; flags < 8; ++flags) compare(m, k, n, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0);
      }
    }
  }
}

TEST_F(Linear, ProductMatchesFloat64AtTheShapesOfAdapters) {
  compare(300, 257, 8, false, true, false);
  compare(300, 8, 257, false, true, true);
  compare(8, 300, 257, true, false, true);
  compare(257, 300, 8, true, false, true);  // B's gradient: the short side is the other one
}

// Where our own loops change their way: several blocks of k and of columns, a short rest, rows a page apart, threads.
TEST_F(Linear, ProductMatchesFloat64AtTheEdgesOfTheNarrowLoops) {
  for (const bool accumulate : {false, true}) {
    compare(301, 601, 24, false, false, accumulate);
    compare(301, 601, 5, false, true, accumulate);
    compare(301, 512, 6, false, true, accumulate);
    compare(61, 64, 523, false, false, accumulate);
    compare(13, 300, 1024, true, false, accumulate);
    compare(1024, 130, 64, true, false, accumulate);
    compare(65, 130, 65, true, false, accumulate);  // oneDNN's
    compare(65, 65, 65, false, true, accumulate);
  }
}

TEST_F(Linear, AProductIsRefusedWhereInnerSizesDiffer) {
  const TensorView c = unwritten({2, 3});
  EXPECT_ANY_THROW(matmul(*backend_, {.a = unwritten({2, 4}), .b = unwritten({5, 3}), .c = c}));
  EXPECT_ANY_THROW(matmul(*backend_, {.a = unwritten({2, 4}), .b = unwritten({4, 3}), .c = c, .transpose_a = true}));
}

TEST_F(Linear, ProductsGiveTheSameBitsEachTime) {
  const TensorView a = floats({127, 300}, support::random_vector(127 * 300, 1));
  const TensorView b = floats({300, 65}, support::random_vector(300 * 65, 2));
  const TensorView c = unwritten({127, 65});
  matmul(*backend_, {.a = a, .b = b, .c = c});
  const std::vector<float> first = read(c);
  for (int repeat = 0; repeat < 5; ++repeat) {
    matmul(*backend_, {.a = a, .b = b, .c = c});
    EXPECT_EQ(read(c), first);
  }
}

TEST_F(Linear, TransposeMovesEveryElement) {
  for (const std::int64_t m : {0, 1, 17, 32, 127}) {
    for (const std::int64_t n : {0, 1, 17, 64, 127}) {
      const Vector x = support::random_vector(m * n, 5);
      const TensorView to = unwritten({n, m});
      transpose(*backend_, {.from = floats({m, n}, x), .to = to});
      support::expect_close(read(to), transposed(x, m, n), 0, "transposed");
    }
  }
}

}  // namespace
}  // namespace shardora
