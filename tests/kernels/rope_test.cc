// Rotary embedding against complex multiplication in float64, and its backward against the transpose of that.
#include "kernels/rope.h"

#include <complex>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

constexpr std::int64_t kMaxPositions = 131;

double angle(std::int64_t position, std::int64_t i, std::int64_t half) {
  return static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
}

struct RopeCase {
  std::int64_t tokens, heads, head_dim;
};

std::vector<std::int64_t> positions_of(std::int64_t tokens) {
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < tokens; ++t) positions.push_back((t * 37) % kMaxPositions);
  return positions;
}

// Feature i and i + half are the real and imaginary part of a number that e^{i angle} turns.
Vector turned(const Vector& x, const RopeCase& sizes, double direction) {
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

// y = gain . u + bias by columns of all heads.
Vector affine(Vector u, const Vector& gain, const Vector& bias) {
  for (std::size_t i = 0; i < u.size(); ++i) u[i] = gain[i % gain.size()] * u[i] + bias[i % bias.size()];
  return u;
}

class RopeTest : public support::ActivationTest {
 protected:
  static Shape shape_of(const RopeCase& sizes) { return {sizes.tokens, sizes.heads, sizes.head_dim}; }
  RopeTable table(const RopeCase& sizes) {
    const std::int64_t half = sizes.head_dim / 2;
    Vector cosines;
    Vector sines;
    for (std::int64_t position = 0; position < kMaxPositions; ++position) {
      for (std::int64_t i = 0; i < half; ++i) {
        cosines.push_back(std::cos(angle(position, i, half)));
        sines.push_back(std::sin(angle(position, i, half)));
      }
    }
    return {.cosines = floats({kMaxPositions, half}, cosines), .sines = floats({kMaxPositions, half}, sines)};
  }
  // In place, and plain.
  RopeForward forward_op(const Vector& x, const RopeCase& sizes) {
    const TensorView u = activations(shape_of(sizes), x);
    return {.x = {.u = u}, .positions = ints(positions_of(sizes.tokens)), .table = table(sizes), .y = u};
  }
  RopeBackward backward_op(const Vector& dy, const RopeCase& sizes) {
    const TensorView d = activations(shape_of(sizes), dy);
    return {.dy = d, .positions = ints(positions_of(sizes.tokens)), .table = table(sizes), .dx = {.du = d}};
  }
};

// Halves of whole vectors of 16 bytes, halves of none, and one where the width is of whole vectors but a half is not.
const RopeCase kRopeCases[] = {{0, 2, 8}, {1, 1, 2}, {17, 3, 34}, {127, 4, 64}, {5, 0, 16}, {9, 5, 128}, {33, 4, 12}};

TEST_P(RopeTest, ForwardTurnsEachPairByItsPositionsAngle) {
  for (const RopeCase& sizes : kRopeCases) {
    const Vector x = drawn(shape_of(sizes).elements(), 1);
    const RopeForward rope = forward_op(x, sizes);
    rope_forward(*backend_, rope);
    expect_output(rope.y, turned(x, sizes, 1), "y");
  }
}

TEST_P(RopeTest, ForwardAppliesGainAndBiasFirst) {
  for (const RopeCase& sizes : kRopeCases) {
    const std::int64_t width = sizes.heads * sizes.head_dim;
    const Vector u = drawn(shape_of(sizes).elements(), 5);
    for (int given = 1; given < 4; ++given) {
      const bool with_gain = (given & 1) != 0, with_bias = (given & 2) != 0;
      const Vector gain = with_gain ? support::random_vector(width, 6, 0.5, 2) : Vector(index(width), 1);
      const Vector bias = with_bias ? support::random_vector(width, 7) : Vector(index(width), 0);
      RopeForward rope = forward_op(u, sizes);
      if (with_gain) rope.x.gain = floats(gain);
      if (with_bias) rope.x.bias = floats(bias);
      rope.y = unwritten_activations(shape_of(sizes));
      rope_forward(*backend_, rope);
      expect_output(rope.y, turned(affine(u, gain, bias), sizes, 1), "y");
      const std::vector<float> apart = read(rope.y);
      rope.y = rope.x.u;
      rope_forward(*backend_, rope);
      EXPECT_EQ(read(rope.y), apart);
    }
  }
}

TEST_P(RopeTest, BackwardIsTheTransposeOfForward) {
  for (const RopeCase& sizes : kRopeCases) {
    const std::int64_t elements = shape_of(sizes).elements();
    const Vector x = drawn(elements, 2);
    const Vector dy = drawn(elements, 3);
    const RopeBackward rope = backward_op(dy, sizes);
    rope_backward(*backend_, rope);
    const std::vector<float> dx = read(rope.dx.du);
    expect_output(rope.dx.du, turned(dy, sizes, -1), "dx");
    // <R x, dy> = <x, R^T dy>, which a rotation in the wrong sense breaks.
    const Vector gradient(dx.begin(), dx.end());
    EXPECT_NEAR(support::dot(turned(x, sizes, 1), dy), support::dot(x, gradient), narrow() ? 1 : 1e-4);
  }
}

// du and h by finite differences in u and in the gain; h adds to what is there; in place gives the same bits.
TEST_P(RopeTest, BackwardOfAGainMatchesFiniteDifferences) {
  for (const RopeCase& sizes :
       {RopeCase{1, 1, 2}, RopeCase{17, 3, 6}, RopeCase{130, 2, 4}, RopeCase{5, 2, 32}, RopeCase{4, 4, 12}}) {
    const std::int64_t width = sizes.heads * sizes.head_dim;
    const Vector u = drawn(sizes.tokens * width, 8);
    const Vector dy = drawn(sizes.tokens * width, 9);
    const Vector gain = support::random_vector(width, 10, 0.5, 2);
    const Vector bias = support::random_vector(width, 11);
    const Vector before = support::random_vector(width, 12);
    const auto loss = [&](const Vector& at_u, const Vector& at_gain) {
      return support::dot(turned(affine(at_u, at_gain, bias), sizes, 1), dy);
    };
    RopeBackward rope = backward_op(dy, sizes);
    rope.x = {.u = activations(shape_of(sizes), u), .gain = floats(gain), .bias = floats(bias)};
    rope.dx = {.du = unwritten_activations(shape_of(sizes)), .h = floats(before)};
    rope_backward(*backend_, rope);
    Vector h = support::finite_difference([&](const Vector& at) { return loss(u, at); }, gain);
    for (std::size_t j = 0; j < h.size(); ++j) h[j] += before[j];
    expect_output(rope.dx.h, h, "h");
    expect_output(rope.dx.du, support::finite_difference([&](const Vector& at) { return loss(at, gain); }, u), "du");
    RopeBackward in_place = rope;
    in_place.dx = {.du = in_place.dy, .h = floats(before)};
    rope_backward(*backend_, in_place);
    EXPECT_EQ(read(in_place.dx.du), read(rope.dx.du));
    EXPECT_EQ(read(in_place.dx.h), read(rope.dx.h));
  }
}

TEST_P(RopeTest, BackwardUndoesForward) {
  const RopeCase sizes{17, 3, 34};
  const Vector x = drawn(17 * 3 * 34, 4);
  const RopeForward rope = forward_op(x, sizes);
  rope_forward(*backend_, rope);
  RopeBackward back = backward_op(Vector(x.size()), sizes);
  back.dy = back.dx.du = rope.y;
  rope_backward(*backend_, back);
  support::expect_close(read(rope.y), x, narrow() ? 4 * support::kBf16 : support::kFp32, "x");
}

TEST_P(RopeTest, PositionOutsideTheTableIsRefused) {
  if (backend_->kind() != BackendKind::kCpu) GTEST_SKIP() << "a device does not check its indices";
  RopeForward rope = forward_op(Vector(2 * 1 * 4), {2, 1, 4});
  rope.positions = ints({0, kMaxPositions});
  EXPECT_THROW(rope_forward(*backend_, rope), Error);
}

SHARDORA_OVER_TYPES(RopeTest);

}  // namespace
}  // namespace shardora
