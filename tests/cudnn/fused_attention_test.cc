// Which attention serves which call, on emulated devices: the library counts the graphs that it runs.
#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "kernels/attention.h"
#include "kernels/emulation/devices.h"
#include "kernels/float_types.h"
#include "tests/support/expect_error.h"

namespace shardora {
namespace {

using emulation::fused_runs;
using emulation::machine;
using testing::Each;
using testing::HasSubstr;

constexpr std::int64_t kHeads = 2, kDim = 8;

class FusedAttentionTest : public testing::Test {
 protected:
  void TearDown() override { machine() = {}; }

  std::unique_ptr<Backend> backend(int major, const std::string& attention = "auto", bool deterministic = false) {
    machine().devices = {{.major = major}};
    return make_backend(BackendKind::kCuda, {.attention = attention, .deterministic = deterministic});
  }
  static AttentionPlan plan(std::int64_t tokens, std::int64_t sequences) {
    return {.heads = kHeads,
            .kv_heads = 1,
            .head_dim = kDim,
            .most_tokens = tokens,
            .most_sequences = sequences,
            .longest = tokens,
            .dtype = DType::kBF16};
  }

  // k, v and do are 1 everywhere, q is 1 + its head: o is 1, lse of head h the logarithm of the keys seen plus 8 (1 +
  // h).
  struct Call {
    Call(Backend& on, const std::vector<std::int32_t>& offsets)
        : backend(on),
          tokens(offsets.back()),
          memory(on, 12 * tokens * kHeads * kDim * 4 + 4096),
          offset_memory(on, 4 * static_cast<std::int64_t>(offsets.size())) {
      constexpr std::uint16_t kOne = 0x3F80;
      op.q = ones(kHeads, kOne);
      raise_heads(op.q);
      op.k = ones(1, kOne);
      op.v = ones(1, kOne);
      op.o = ones(kHeads, 0);
      d_o = ones(kHeads, kOne);
      dq = ones(kHeads, 0);
      dk = ones(1, 0);
      dv = ones(1, 0);
      op.lse = {place(tokens * kHeads * 4), DType::kF32, {tokens, kHeads}};
      const Shape shape{static_cast<std::int64_t>(offsets.size())};
      op.query_offsets = {offset_memory.data(), DType::kI32, shape};
      backend.copy_from_host(op.query_offsets, view_of(std::span(offsets), shape));
      backend.synchronize();
      op.key_offsets = op.query_offsets;
    }
    void* place(std::int64_t bytes) {
      std::byte* const here = static_cast<std::byte*>(memory.data()) + used;
      used += (bytes + 63) / 64 * 64;
      return here;
    }
    TensorView ones(std::int64_t heads, std::uint16_t bits) {
      std::vector<std::uint16_t> values(static_cast<std::size_t>(tokens * heads * kDim), bits);
      const Shape shape{tokens, heads, kDim};
      const TensorView device{place(tokens * heads * kDim * 2), DType::kBF16, shape};
      backend.copy_from_host(device, {values.data(), DType::kBF16, shape});
      backend.synchronize();
      return device;
    }
    void raise_heads(TensorView q) {
      std::vector<std::uint16_t> values = read(q);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = bf16_from_float(static_cast<float>(1 + i / kDim % kHeads));
      }
      backend.copy_from_host(q, {values.data(), DType::kBF16, q.shape});
      backend.synchronize();
    }
    // How many graphs the library ran for both passes.
    std::int64_t run() {
      const std::int64_t before = fused_runs();
      attention_forward(backend, op);
      attention_backward(backend, {.forward = op, .d_o = d_o, .dq = dq, .dk = dk, .dv = dv});
      return fused_runs() - before;
    }
    std::vector<float> lse() {
      std::vector<float> values(static_cast<std::size_t>(tokens * kHeads));
      backend.copy_to_host(view_of(std::span(values), op.lse.shape), op.lse);
      backend.synchronize();
      return values;
    }
    std::vector<std::uint16_t> read(TensorView device) {
      std::vector<std::uint16_t> values(static_cast<std::size_t>(device.elements()));
      backend.copy_to_host({values.data(), DType::kBF16, device.shape}, device);
      backend.synchronize();
      return values;
    }

    Backend& backend;
    std::int64_t tokens, used = 0;
    DeviceBuffer memory, offset_memory;
    AttentionForward op;
    TensorView d_o, dq, dk, dv;
  };
};

TEST_F(FusedAttentionTest, OnlyCallsThatAPlanCoversAreTheLibrarys) {
  const auto on = backend(9);
  EXPECT_EQ(Call(*on, {0, 5, 9}).run(), 0) << "no plan yet";
  prepare_attention(*on, plan(9, 2));
  EXPECT_EQ(Call(*on, {0, 5, 9}).run(), 2);
  EXPECT_EQ(Call(*on, {0, 3}).run(), 2);
  EXPECT_EQ(Call(*on, {0, 5, 10}).run(), 0) << "more tokens";
  EXPECT_EQ(Call(*on, {0, 1, 2, 3}).run(), 0) << "more sequences";
  Call longer(*on, {0, 5, 9});
  longer.op.longest = 10;
  EXPECT_EQ(longer.run(), 0) << "a longer sequence";
  Call window(*on, {0, 5, 9});
  window.op.mask = {.kind = MaskKind::kWindow, .window = 2};
  EXPECT_EQ(window.run(), 0) << "another mask";
  DeviceBuffer copy(*on, 12);
  Call apart(*on, {0, 5, 9});
  apart.op.key_offsets.data = copy.data();
  on->copy(apart.op.key_offsets, apart.op.query_offsets);
  EXPECT_EQ(apart.run(), 0) << "offsets that are not the same";
}

TEST_F(FusedAttentionTest, ALongestSequenceThatIsNotKnownMayBeAllTokens) {
  const auto on = backend(9);
  AttentionPlan short_ones = plan(9, 2);
  short_ones.longest = 5;
  prepare_attention(*on, short_ones);
  Call call(*on, {0, 5, 9});
  EXPECT_EQ(call.run(), 0);
  call.op.longest = 5;
  EXPECT_EQ(call.run(), 2);
}

TEST_F(FusedAttentionTest, StatisticsOfPaddedSequencesArePackedAgain) {
  for (const int major : {8, 9, 12}) {
    const auto on = backend(major);
    prepare_attention(*on, plan(700, 3));
    Call call(*on, {0, 3, 3, 603});
    EXPECT_EQ(call.run(), 2);
    const std::vector<float> lse = call.lse();
    for (std::int64_t t = 0; t < 603; ++t) {
      const double keys = static_cast<double>(t < 3 ? t + 1 : t - 2);
      for (std::int64_t h = 0; h < kHeads; ++h) {
        const double expected = static_cast<double>(8 * (1 + h)) + std::log(keys);
        EXPECT_NEAR(lse[static_cast<std::size_t>(t * kHeads + h)], expected, 1e-4) << major << " " << t;
      }
    }
    EXPECT_THAT(call.read(call.op.o), Each(0x3F80)) << major;
    EXPECT_THAT(call.read(call.dq), Each(testing::AnyOf(0, 0x8000))) << major;  // equal keys: moving q changes nothing
    double d_values = 0;  // each query hands its whole do down to the values that it has seen
    for (const std::uint16_t bits : call.read(call.dv)) d_values += static_cast<double>(float_from_bf16(bits));
    EXPECT_NEAR(d_values / kDim, 603 * kHeads, 6) << major;
  }
}

TEST_F(FusedAttentionTest, ADeterministicRunIsOurOwnWhereTheLibraryHasNoSuchPass) {
  const auto ampere = backend(8, "auto", true);
  prepare_attention(*ampere, plan(9, 2));
  EXPECT_EQ(Call(*ampere, {0, 5, 9}).run(), 0);
  EXPECT_THAT(ampere->description(), HasSubstr("attention by own kernels (it has no deterministic backward pass"));
  const auto hopper = backend(9, "auto", true);
  prepare_attention(*hopper, plan(9, 2));
  EXPECT_EQ(Call(*hopper, {0, 5, 9}).run(), 2);
  EXPECT_THAT(hopper->description(), HasSubstr("attention by emulated cuDNN"));
}

TEST_F(FusedAttentionTest, AWorkspaceBeyondAnEighthOfTheDeviceIsNotTaken) {
  machine().devices = {{.memory_bytes = std::size_t{128} << 20}};
  const auto on = make_backend(BackendKind::kCuda, {.deterministic = true});
  prepare_attention(*on, plan(2048, 1));  // 2 * 2048 * 2048 * 2 bytes and more, of 16 MiB
  EXPECT_THAT(on->description(), HasSubstr("workspace"));
  prepare_attention(*on, plan(1024, 1));
  EXPECT_THAT(on->description(), HasSubstr("attention by emulated cuDNN"));
}

TEST_F(FusedAttentionTest, OwnKernelsWhereTheyAreAskedFor) {
  const auto on = backend(9, "own");
  prepare_attention(*on, plan(9, 2));
  EXPECT_EQ(Call(*on, {0, 5, 9}).run(), 0);
  EXPECT_THAT(on->description(), HasSubstr("attention by own kernels (as asked for)"));
}

TEST_F(FusedAttentionTest, CudnnThatDoesNotServeTheRunIsRefusedWhereItIsAskedFor) {
  const auto on = backend(9, "cudnn");
  AttentionPlan odd = plan(9, 2);
  odd.head_dim = 12;
  expect_error(ExitStatus::kUnavailable, {"head size 12 is not a multiple of 8"}, [&] { prepare_attention(*on, odd); });
}

TEST_F(FusedAttentionTest, AbsentCudnnIsRefusedWhereItIsAskedForAndSaidWhereNot) {
  machine().fused_problem = "libcudnn.so.9 not found";
  expect_error(ExitStatus::kUnavailable, {"libcudnn.so.9 not found; needed cuDNN 9.6"}, [&] { backend(9, "cudnn"); });
  const auto on = backend(9);
  EXPECT_THAT(on->description(), HasSubstr("attention by own kernels (libcudnn.so.9 not found)"));
  prepare_attention(*on, plan(9, 2));
  EXPECT_EQ(Call(*on, {0, 5, 9}).run(), 0);
}

TEST_F(FusedAttentionTest, APlanPreparedAgainTakesNoMoreMemory) {
  const auto on = backend(9);
  prepare_attention(*on, plan(90, 4));
  const std::size_t before = emulation::allocated_bytes();
  prepare_attention(*on, plan(90, 4));
  prepare_attention(*on, plan(50, 2));
  EXPECT_EQ(emulation::allocated_bytes(), before);
  prepare_attention(*on, plan(600, 4));
  EXPECT_GT(emulation::allocated_bytes(), before);
  EXPECT_EQ(Call(*on, {0, 120, 180}).run(), 2);
}

}  // namespace
}  // namespace shardora
