// cuDNN itself, asked about every graph that a run may need, on devices that are described and not here: what our rules
// say that it serves is what its own check of support says. Prints the table.
#include <gmock/gmock.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <vector>

#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/fused_library.h"

namespace shardora::cuda {
namespace {

struct Kind {
  const char* name;
  bool training, deterministic;
};
constexpr Kind kForward{"forward", false, false}, kTraining{"training", true, false},
    kDeterministic{"deterministic", true, true};
const std::vector<Kind> kKinds = {kForward, kTraining, kDeterministic};
const std::vector<AttentionMask> kMasks = {
    {.kind = MaskKind::kCausal}, {.kind = MaskKind::kWindow, .window = 300}, {.kind = MaskKind::kFull}};

class CudnnSupport : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!cudnn_library().problem.empty()) GTEST_SKIP() << cudnn_library().problem;
    std::ifstream file(std::string(SHARDORA_SOURCE_DIR "/tests/cudnn/sm_") + std::to_string(GetParam()) + ".json");
    device_json_.assign(std::istreambuf_iterator<char>(file), {});
    ASSERT_FALSE(device_json_.empty());
  }

  // The workspace is a limit of ours, not of cuDNN's.
  FusedDevice device() const {
    return {.capability = GetParam(), .cudnn = cudnn_library().version, .most_workspace_bytes = std::int64_t{1} << 60};
  }
  static AttentionPlan plan(std::int64_t head_dim, const AttentionMask& mask, bool training) {
    return {.heads = 32,
            .kv_heads = 8,
            .head_dim = head_dim,
            .most_tokens = 8192,
            .most_sequences = 4,
            .longest = 4096,
            .mask = mask,
            .dtype = DType::kBF16,
            .training = training};
  }

  // Of both graphs of a plan's batch; empty: served.
  std::string cudnn_says(const AttentionPlan& plan, bool deterministic) const {
    FusedShape shape = fused_shape(plan, plan.most_sequences, device());
    const std::string forward = ask_fused_library(shape, GetParam(), device_json_);
    if (!forward.empty() || !plan.training) return forward;
    shape.backward = true;
    shape.deterministic = deterministic;
    return ask_fused_library(shape, GetParam(), device_json_);
  }

  // Both say the same; which is returned.
  bool compare(const AttentionPlan& plan, bool deterministic) const {
    const std::string ours = why_not_fused(plan, deterministic, device()), theirs = cudnn_says(plan, deterministic);
    EXPECT_EQ(ours.empty(), theirs.empty())
        << "sm_" << GetParam() << ", head size " << plan.head_dim << ", " << plan.heads << "/" << plan.kv_heads
        << " heads, mask " << static_cast<int>(plan.mask.kind) << ", " << plan.most_sequences << " sequences of "
        << plan.longest << ", training " << plan.training << ", deterministic " << deterministic << "\n  ours: " << ours
        << "\n  cuDNN's: " << theirs;
    return theirs.empty();
  }

  std::string device_json_;
};

TEST_P(CudnnSupport, HeadSizesAndMasksAreServedAsClaimed) {
  std::cout << "sm_" << GetParam() << ", " << cudnn_version_text(cudnn_library().version)
            << ": head sizes that are served (causal, window, full)\n";
  for (const Kind& kind : kKinds) {
    std::cout << "  " << kind.name << ":";
    for (const std::int64_t head_dim : {8, 64, 72, 80, 96, 128, 136, 192, 256}) {
      std::string served;
      for (const AttentionMask& mask : kMasks) {
        served += compare(plan(head_dim, mask, kind.training), kind.deterministic) ? 'y' : '-';
      }
      std::cout << " " << head_dim << " " << served;
    }
    std::cout << "\n";
  }
}

TEST_P(CudnnSupport, EveryBucketIsServedAsClaimed) {
  for (const Kind& kind : kKinds) {
    for (const std::int64_t sequences : {1, 2, 4, 8, 16, 32, 64, 1024}) {
      for (std::int64_t longest = 512; longest <= 32768; longest *= 2) {
        AttentionPlan bucket = plan(128, kMasks[0], kind.training);
        bucket.most_sequences = sequences;
        bucket.longest = longest;
        bucket.most_tokens = std::min<std::int64_t>(sequences * longest, 65536);
        compare(bucket, kind.deterministic);
      }
    }
  }
}

TEST_P(CudnnSupport, HeadsInAnyGroupsAreServedAsClaimed) {
  for (const Kind& kind : kKinds) {
    for (const auto& [heads, kv_heads] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {7, 1}, {14, 2}, {3, 3}, {32, 32}, {64, 8}}) {
      for (const AttentionMask& mask : kMasks) {
        AttentionPlan grouped = plan(64, mask, kind.training);
        grouped.heads = heads;
        grouped.kv_heads = kv_heads;
        compare(grouped, kind.deterministic);
      }
    }
  }
}

TEST_P(CudnnSupport, WindowsOfAnyWidthAreServedAsClaimed) {
  for (const Kind& kind : kKinds) {
    for (const std::int64_t window : {1, 17, 511, 4095, 4096, 100000}) {
      compare(plan(128, {.kind = MaskKind::kWindow, .window = window}, kind.training), kind.deterministic);
    }
  }
}

// The rules are not all that stands between a run and cuDNN: what they refuse, cuDNN refuses for its own reason.
TEST_P(CudnnSupport, OddHeadSizesAreRefusedByBoth) {
  for (const std::int64_t head_dim : {12, 68}) {
    EXPECT_FALSE(compare(plan(head_dim, kMasks[0], true), false));
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, CudnnSupport, testing::Values(80, 90, 100, 120),
                         [](const auto& device) { return "sm_" + std::to_string(device.param); });

}  // namespace
}  // namespace shardora::cuda
