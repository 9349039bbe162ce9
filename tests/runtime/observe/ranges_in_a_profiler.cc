// Profiler ranges in a program with CUDA: what a profiler is told. The profiler is this file, by NVTX's own way in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#define NVTX_NO_IMPL
#include <nvtx3/nvToolsExt.h>

#include <string>
#include <vector>

#include "runtime/observe/ranges.h"

namespace {

std::vector<std::string>& told() {
  static std::vector<std::string> events;
  return events;
}

int range_push(const char* name) {
  told().push_back(std::string("+ ") + name);
  return 0;
}
int range_pop() {
  told().push_back("-");
  return 0;
}

int attach(NvtxGetExportTableFunc_t tables) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &size) == 0) return 0;
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(range_push);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(range_pop);
  return 1;
}

}  // namespace

extern "C" NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr;
NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr = attach;

namespace shardora {
namespace {

TEST(ProfilerRanges, NestAsTheirScopesDo) {
  require_profiler_ranges(true);
  told().clear();
  {
    const ProfilerRange step(true, "step", 3);
    const ProfilerRange unseen(false, "unseen", 1);
    {
      const ProfilerRange data(true, "data");
      const ProfilerRange nothing(false, "unseen");
    }
    const ProfilerRange layer(true, "layer forward", 125);
  }
  EXPECT_THAT(told(), testing::ElementsAre("+ step 3", "+ data", "-", "+ layer forward 125", "-", "-"));
}

TEST(ProfilerRanges, OfALongNameShowItsBeginning) {
  told().clear();
  { const ProfilerRange range(true, std::string(100, 'x')); }
  EXPECT_THAT(told(), testing::ElementsAre("+ " + std::string(63, 'x'), "-"));
}

}  // namespace
}  // namespace shardora
