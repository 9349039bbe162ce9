// Devices by the names that their drivers give them.
#include "runtime/observe/device_table.h"

#include <gtest/gtest.h>

namespace shardora {
namespace {

double peak(std::string_view name) {
  const DeviceFigures* const device = find_device_by_name(name);
  return device == nullptr ? 0 : device->bf16_flops;
}

TEST(DeviceTable, FindsADeviceByTheBeginningOfItsName) {
  EXPECT_EQ(peak("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(peak("NVIDIA H100 80GB HBM3"), 989.4e12);
  EXPECT_EQ(peak("NVIDIA H200"), 989.4e12);
  EXPECT_EQ(peak("NVIDIA B200"), 2250e12);
}

TEST(DeviceTable, KnowsNothingOfOtherBoardsOrSlices) {
  for (const char* other : {"", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200 NVL", "NVIDIA H20", "NVIDIA GB200",
                            "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090", "emulated device 0"}) {
    EXPECT_EQ(find_device_by_name(other), nullptr) << other;
  }
}

TEST(DeviceTable, FindsADeviceByItsWordAlone) {
  for (const DeviceFigures& device : device_table()) EXPECT_EQ(find_device_by_word(device.word), &device);
  EXPECT_EQ(find_device_by_word("h10"), nullptr);
  EXPECT_EQ(find_device_by_word("NVIDIA H100"), nullptr);
}

}  // namespace
}  // namespace shardora
