// Rotary embedding against complex multiplication in float64, and its backward against the transpose of that.
#include "kernels/rope.h"

#include <complex>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

constexpr std::int64_t kMaxPositions = 131;

double angle(std::int64_t position, std::int64_t i, std::int64_t half) {
  return static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
}

struct Case {
  std::int64_t tokens, heads, head_dim;
};

std::vector<std::int64_t> positions_of(std::int64_t tokens) {
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < tokens; ++t) positions.push_back((t * 37) % kMaxPositions);
  return positions;
}

// Feature i and i + half are the real and imaginary part of a number that e^{i angle} turns.
Vector turned(const Vector& x, const Case& sizes, double direction) {
  const std::int64_t half = sizes.head_dim / 2;
  const std::vector<std::int64_t> positions = positions_of(sizes.tokens);
  Vector y(x.size());
  for (std::int64_t t = 0; t < sizes.tokens; ++t) {
    for (std::int64_t h = 0; h < sizes.heads; ++h) {
      for (std::int64_t i = 0; i < half; ++i) {
        const std::size_t at = index((t * sizes.heads + h) * sizes.head_dim + i);
        const std::complex<double> number(x[at], x[at + index(half)]);
        const std::complex<double> result = number * std::polar(1.0, direction * angle(positions[index(t)], i, half));
        y[at] = result.real();
        y[at + index(half)] = result.imag();
      }
    }
  }
  return y;
}

class RopeTest : public support::KernelTest {
 protected:
  Rope op(const Vector& x, const Case& sizes) {
    const std::int64_t half = sizes.head_dim / 2;
    Vector cosines;
    Vector sines;
    for (std::int64_t position = 0; position < kMaxPositions; ++position) {
      for (std::int64_t i = 0; i < half; ++i) {
        cosines.push_back(std::cos(angle(position, i, half)));
        sines.push_back(std::sin(angle(position, i, half)));
      }
    }
    return {.x = floats({sizes.tokens, sizes.heads, sizes.head_dim}, x),
            .positions = ints(positions_of(sizes.tokens)),
            .cosines = floats({kMaxPositions, half}, cosines),
            .sines = floats({kMaxPositions, half}, sines)};
  }
};

const Case kCases[] = {{0, 2, 8}, {1, 1, 2}, {17, 3, 34}, {127, 4, 64}, {5, 0, 16}};

TEST_F(RopeTest, ForwardTurnsEachPairByItsPositionsAngle) {
  for (const Case& sizes : kCases) {
    const Vector x = support::random_vector(sizes.tokens * sizes.heads * sizes.head_dim, 1);
    const Rope rope = op(x, sizes);
    rope_forward(*backend_, rope);
    support::expect_close(read(rope.x), turned(x, sizes, 1), kFp32, "x");
  }
}

TEST_F(RopeTest, BackwardIsTheTransposeOfForward) {
  for (const Case& sizes : kCases) {
    const std::int64_t elements = sizes.tokens * sizes.heads * sizes.head_dim;
    const Vector x = support::random_vector(elements, 2);
    const Vector dy = support::random_vector(elements, 3);
    const Rope rope = op(dy, sizes);
    rope_backward(*backend_, rope);
    const std::vector<float> dx = read(rope.x);
    support::expect_close(dx, turned(dy, sizes, -1), kFp32, "dx");
    // <R x, dy> = <x, R^T dy>, which a rotation in the wrong sense breaks.
    const Vector gradient(dx.begin(), dx.end());
    EXPECT_NEAR(support::dot(turned(x, sizes, 1), dy), support::dot(x, gradient), 1e-4);
  }
}

TEST_F(RopeTest, BackwardUndoesForward) {
  const Case sizes{17, 3, 34};
  const Vector x = support::random_vector(17 * 3 * 34, 4);
  const Rope rope = op(x, sizes);
  rope_forward(*backend_, rope);
  rope_backward(*backend_, rope);
  support::expect_close(read(rope.x), x, kFp32, "x");
}

TEST_F(RopeTest, PositionOutsideTheTableIsRefused) {
  if (backend_->kind() != BackendKind::kCpu) GTEST_SKIP() << "a device does not check its indices";
  Rope rope = op(Vector(2 * 1 * 4), {2, 1, 4});
  rope.positions = ints({0, kMaxPositions});
  EXPECT_THROW(rope_forward(*backend_, rope), Error);
}

}  // namespace
}  // namespace shardora
