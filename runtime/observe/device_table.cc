#include "runtime/observe/device_table.h"

#include <algorithm>
#include <array>

namespace shardora {
namespace {

constexpr std::int64_t gib(double count) { return static_cast<std::int64_t>(count * (std::int64_t{1} << 30)); }

// SXM boards where there are several. Two-way link figures of the vendor are halved.
constexpr std::array<DeviceFigures, 4> kDevices = {{
    {.word = "a100",
     .name = "NVIDIA A100",
     .bf16_flops = 312e12,
     .memory_bandwidth = 2.039e12,
     .memory_bytes = gib(79.1),
     .link_bandwidth = 300e9},
    {.word = "h100",
     .name = "NVIDIA H100",
     .bf16_flops = 989.4e12,
     .memory_bandwidth = 3.35e12,
     .memory_bytes = gib(79.1),
     .link_bandwidth = 450e9},
    {.word = "h200",
     .name = "NVIDIA H200",
     .bf16_flops = 989.4e12,
     .memory_bandwidth = 4.8e12,
     .memory_bytes = gib(139.8),
     .link_bandwidth = 450e9},
    {.word = "b200",
     .name = "NVIDIA B200",
     .bf16_flops = 2250e12,
     .memory_bandwidth = 8e12,
     .memory_bytes = gib(178.3),
     .link_bandwidth = 900e9},
}};

template <class Is>
const DeviceFigures* find(const Is& is) {
  const auto* const found = std::find_if(kDevices.begin(), kDevices.end(), is);
  return found == kDevices.end() ? nullptr : found;
}

}  // namespace

std::span<const DeviceFigures> device_table() { return kDevices; }

const DeviceFigures* find_device_by_name(std::string_view device_name) {
  // Boards of the same names with less power, and slices of a device.
  for (const std::string_view other : {"H100 PCIe", "NVL", "MIG"}) {
    if (device_name.find(other) != std::string_view::npos) return nullptr;
  }
  return find([&](const DeviceFigures& device) { return device_name.starts_with(device.name); });
}

const DeviceFigures* find_device_by_word(std::string_view word) {
  return find([&](const DeviceFigures& device) { return device.word == word; });
}

}  // namespace shardora
