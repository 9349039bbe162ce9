// Matrix products and the transpose against float64.
#include "kernels/linear.h"

#include <limits>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
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

class Linear : public support::ActivationTest {
 protected:
  void compare(std::int64_t m, std::int64_t k, std::int64_t n, bool transpose_a, bool transpose_b, bool accumulate) {
    SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << (transpose_a ? " A^T" : "")
                                    << (transpose_b ? " B^T" : "") << (accumulate ? " +=" : " ="));
    const Vector a = drawn(m * k, 1), b = drawn(k * n, 2);
    const Vector start = accumulate ? drawn(m * n, 3) : Vector(index(m * n));
    const Vector garbage(index(m * n), std::numeric_limits<double>::quiet_NaN());
    const Vector expected = reference(start, a, b, 0.75, m, k, n);
    const auto check = [&](TensorView c) {
      matmul(*backend_, {.a = transpose_a ? activations({k, m}, transposed(a, m, k)) : activations({m, k}, a),
                         .b = transpose_b ? activations({n, k}, transposed(b, k, n)) : activations({k, n}, b),
                         .c = c,
                         .transpose_a = transpose_a,
                         .transpose_b = transpose_b,
                         .scale = 0.75F,
                         .accumulate = accumulate});
      expect_output(c, expected, "c");
    };
    check(activations({m, n}, accumulate ? start : garbage));
    if (narrow()) check(floats({m, n}, accumulate ? start : garbage));
  }
};

TEST_P(Linear, ProductMatchesFloat64AtEverySizeAndTransposition) {
  for (const std::int64_t m : {0, 1, 17, 127}) {
    for (const std::int64_t k : {0, 1, 17, 127}) {
      for (const std::int64_t n : {0, 1, 17, 127}) {
        for (int flags = 0; flags < 8; ++flags) compare(m, k, n, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0);
      }
    }
  }
}

TEST_P(Linear, ProductMatchesFloat64AtTheShapesOfAdapters) {
  compare(300, 257, 8, false, true, false);
  compare(300, 8, 257, false, true, true);
  compare(8, 300, 257, true, false, true);
  compare(257, 300, 8, true, false, true);  // B's gradient: the short side is the other one
}

// Where our own loops change their way: several blocks of k and of columns, a short rest, rows a page apart, threads.
TEST_P(Linear, ProductMatchesFloat64AtTheEdgesOfTheNarrowLoops) {
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

TEST_P(Linear, AProductIsRefusedWhereInnerSizesDiffer) {
  const TensorView c = unwritten({2, 3});
  EXPECT_ANY_THROW(matmul(*backend_, {.a = unwritten({2, 4}), .b = unwritten({5, 3}), .c = c}));
  EXPECT_ANY_THROW(matmul(*backend_, {.a = unwritten({2, 4}), .b = unwritten({4, 3}), .c = c, .transpose_a = true}));
}

TEST_P(Linear, AProductIsRefusedWhereTypesDiffer) {
  if (!narrow()) GTEST_SKIP() << "one type";
  const TensorView narrow = unwritten_activations({3, 3}), wide = unwritten({3, 3});
  EXPECT_ANY_THROW(matmul(*backend_, {.a = narrow, .b = wide, .c = unwritten({3, 3})}));
  EXPECT_ANY_THROW(matmul(*backend_, {.a = wide, .b = unwritten({3, 3}), .c = narrow}));
}

// A sum that bfloat16 could not hold on the way: 1 + 2^-8 + 2^-8 + ... stays 1 where partial sums are rounded.
TEST_P(Linear, SumsAreNotRoundedOnTheWay) {
  constexpr std::int64_t kTerms = 257;
  Vector a(kTerms, 1.0 / 256);
  a[0] = 1;
  const TensorView c = unwritten_activations({1, 1});
  matmul(*backend_, {.a = activations({1, kTerms}, a), .b = activations({kTerms, 1}, Vector(kTerms, 1.0)), .c = c});
  EXPECT_EQ(read(c), std::vector<float>{2});
}

TEST_P(Linear, ProductsGiveTheSameBitsEachTime) {
  const TensorView a = activations({127, 300}, support::random_vector(127 * 300, 1));
  const TensorView b = activations({300, 65}, support::random_vector(300 * 65, 2));
  const TensorView c = unwritten_activations({127, 65});
  matmul(*backend_, {.a = a, .b = b, .c = c});
  const std::vector<float> first = read(c);
  for (int repeat = 0; repeat < 5; ++repeat) {
    matmul(*backend_, {.a = a, .b = b, .c = c});
    EXPECT_EQ(read(c), first);
  }
}

using LinearTranspose = support::KernelTest;

TEST_F(LinearTranspose, MovesEveryElement) {
  for (const std::int64_t m : {0, 1, 17, 32, 127}) {
    for (const std::int64_t n : {0, 1, 17, 64, 127}) {
      const Vector x = support::random_vector(m * n, 5);
      const TensorView to = unwritten({n, m});
      transpose(*backend_, {.from = floats({m, n}, x), .to = to});
      support::expect_close(read(to), transposed(x, m, n), 0, "transposed");
    }
  }
}

SHARDORA_OVER_TYPES(Linear);

}  // namespace
}  // namespace shardora
