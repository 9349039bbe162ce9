// What cuDNN is said to serve, what it is said to take, and which graph serves a call.
#include "kernels/cuda/fused_rules.h"

#include <gmock/gmock.h>

namespace shardora::cuda {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

AttentionPlan plan_8b() {
  return {.heads = 32,
          .kv_heads = 8,
          .head_dim = 128,
          .most_tokens = 8192,
          .most_sequences = 2,
          .longest = 4096,
          .mask = {.kind = MaskKind::kCausal},
          .dtype = DType::kBF16};
}
FusedDevice hopper() { return {.capability = 90, .cudnn = 91900, .most_workspace_bytes = 16 * kGiB}; }
FusedDevice ampere() { return {.capability = 80, .cudnn = 91900, .most_workspace_bytes = 10 * kGiB}; }
FusedDevice blackwell() { return {.capability = 100, .cudnn = 91900, .most_workspace_bytes = 20 * kGiB}; }

TEST(FusedRules, TheUsualRunIsServedOnEveryFamily) {
  for (const FusedDevice& device : {hopper(), ampere(), blackwell(), FusedDevice{120, 91900, 10 * kGiB}}) {
    EXPECT_THAT(why_not_fused(plan_8b(), false, device), IsEmpty()) << device.capability;
  }
  EXPECT_THAT(why_not_fused(plan_8b(), true, hopper()), IsEmpty());
  EXPECT_THAT(why_not_fused(plan_8b(), true, blackwell()), IsEmpty());
}

TEST(FusedRules, OnlyBfloat16AndMultiplesOfEight) {
  AttentionPlan plan = plan_8b();
  plan.dtype = DType::kF32;
  EXPECT_THAT(why_not_fused(plan, false, hopper()), HasSubstr("not bfloat16"));
  plan = plan_8b();
  plan.head_dim = 68;
  EXPECT_THAT(why_not_fused(plan, false, hopper()), HasSubstr("multiple of 8"));
}

TEST(FusedRules, LargeHeadsAreServedOnHopperOrForwardOnly) {
  AttentionPlan plan = plan_8b();
  plan.head_dim = 136;
  EXPECT_THAT(why_not_fused(plan, false, hopper()), IsEmpty());
  EXPECT_THAT(why_not_fused(plan, false, blackwell()), HasSubstr("above 128"));
  EXPECT_THAT(why_not_fused(plan, false, ampere()), HasSubstr("above 128"));
  plan.training = false;
  EXPECT_THAT(why_not_fused(plan, false, blackwell()), IsEmpty());
  plan.head_dim = 264;
  EXPECT_THAT(why_not_fused(plan, false, hopper()), HasSubstr("above 256"));
}

TEST(FusedRules, DeterminismNeedsAFamilyThatHasIt) {
  EXPECT_THAT(why_not_fused(plan_8b(), true, ampere()), HasSubstr("no deterministic"));
  FusedDevice old = blackwell();
  old.cudnn = 91701;
  EXPECT_THAT(why_not_fused(plan_8b(), true, old), HasSubstr("9.18"));
  EXPECT_THAT(why_not_fused(plan_8b(), false, old), IsEmpty());
  AttentionPlan forward_only = plan_8b();
  forward_only.training = false;
  EXPECT_THAT(why_not_fused(forward_only, true, ampere()), IsEmpty());
}

TEST(FusedRules, VersionsWithErrorsAndUnknownDevicesAreRefused) {
  FusedDevice device = hopper();
  for (const int version : {91000, 91001}) {
    device.cudnn = version;
    EXPECT_THAT(why_not_fused(plan_8b(), false, device), HasSubstr("known errors")) << version;
  }
  device.cudnn = 91002;
  EXPECT_THAT(why_not_fused(plan_8b(), false, device), IsEmpty());
  device = ampere();
  device.cudnn = 91800;
  EXPECT_THAT(why_not_fused(plan_8b(), false, device), HasSubstr("9.18.1"));
  device.capability = 130;
  EXPECT_THAT(why_not_fused(plan_8b(), false, device), HasSubstr("13.0"));
}

TEST(FusedRules, DeterministicWorkspaceGrowsWithTheSquareOfTheLongestSequence) {
  AttentionPlan plan = plan_8b();
  EXPECT_THAT(why_not_fused(plan, true, hopper()), IsEmpty());  // 2 GiB and a little
  plan.most_sequences = 17;                                     // 32 GiB
  EXPECT_THAT(why_not_fused(plan, true, hopper()), HasSubstr("workspace"));
  EXPECT_THAT(why_not_fused(plan, false, hopper()), IsEmpty());
  FusedShape shape = fused_shape(plan_8b(), 2, hopper());
  shape.deterministic = true;
  const std::int64_t sums = 8192 * 32 * 4, heads = 2 * std::int64_t{8192} * 32 * 128 * 4;
  EXPECT_EQ(fused_workspace_bytes(shape, 90), 2 * std::int64_t{32} * 4096 * 4096 * 2 + sums + heads);
  shape.deterministic = false;
  EXPECT_EQ(fused_workspace_bytes(shape, 90), std::int64_t{8192} * 32 * 128 * 4 + sums + heads);
}

TEST(FusedRules, WorkspaceOfOlderKernelsGoesByThePaddedBatch) {
  AttentionPlan plan = plan_8b();
  plan.most_sequences = 500;  // 512 of 4096
  EXPECT_THAT(why_not_fused(plan, false, ampere()), HasSubstr("512 sequences of 4096"));
  EXPECT_THAT(why_not_fused(plan, false, hopper()), IsEmpty());
}

TEST(FusedRules, BucketsArePowersOfTwo) {
  for (const auto& [count, bucket] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {2, 2}, {3, 4}, {64, 64}, {65, 128}}) {
    EXPECT_EQ(batch_bucket(count), bucket);
  }
  for (const auto& [tokens, bucket] :
       {std::pair<std::int64_t, std::int64_t>{1, 512}, {512, 512}, {513, 1024}, {4096, 4096}, {4097, 8192}}) {
    EXPECT_EQ(length_bucket(tokens), bucket);
  }
}

TEST(FusedRules, AWindowThatSeesEveryKeyBeforeIsCausal) {
  AttentionPlan plan = plan_8b();
  plan.mask = {.kind = MaskKind::kWindow, .window = 4096};
  EXPECT_EQ(fused_shape(plan, 1, hopper()).mask.kind, MaskKind::kCausal);
  plan.mask.window = 4095;
  EXPECT_EQ(fused_shape(plan, 1, hopper()).mask.kind, MaskKind::kWindow);
}

}  // namespace
}  // namespace shardora::cuda
