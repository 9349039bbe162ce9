// What is known of GPUs that this program runs on, by their vendor's name: dense peaks, memory and links, as the vendor
// states them, and what share of the peaks well-made code gets.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace shardora {

struct DeviceFigures {
  std::string_view word;          // as in plan.device
  std::string_view name;          // how its name begins
  double bf16_flops = 0;          // dense products, sums in fp32, FLOP/s
  double memory_bandwidth = 0;    // bytes/s
  std::int64_t memory_bytes = 0;  // as its driver reports it
  double link_bandwidth = 0;      // bytes/s each way to the other devices of a host
  double product_share = 0.8;     // of bf16_flops, in large products: 790 of 989 TFLOP/s on an H200
  double attention_share = 0.49;  // of bf16_flops, forward and backward, causal
  int devices_of_host = 8;
  double network_bandwidth = 50e9;  // bytes/s each way of a device to other hosts: 400 Gb/s
  double bandwidth_share = 0.8;     // of memory_bandwidth, in elementwise passes
};

std::span<const DeviceFigures> device_table();
// Null for a device that is not in the table: other boards of the same names, slices.
const DeviceFigures* find_device_by_name(std::string_view device_name);
const DeviceFigures* find_device_by_word(std::string_view word);

}  // namespace shardora
