// Memory that an operation uses while it runs. It grows to the largest need and stays: later steps allocate nothing.
#pragma once

#include <cstdint>
#include <memory>

namespace shardora::cpu {

class Scratch {
 public:
  // At least `count` floats, aligned to a cache line. What an earlier call gave is gone.
  float* floats(std::int64_t count);

 private:
  struct Free {
    void operator()(float* memory) const noexcept;
  };
  std::unique_ptr<float, Free> memory_;
  std::int64_t count_ = 0;
};

}  // namespace shardora::cpu
