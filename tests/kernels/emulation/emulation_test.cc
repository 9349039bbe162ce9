// What the emulation promises: kernels with a bug of their kind go wrong on it, and right ones do not.
#include "kernels/emulation/emulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/block.h"
#include "kernels/emulation/devices.h"
#include "tests/support/sanitized.h"

namespace shardora::cuda {
namespace {

constexpr unsigned kThreads = 96;

// Device memory of exactly `count` floats.
class Floats {
 public:
  explicit Floats(std::size_t count) : count_(count) {
    void* memory = nullptr;
    SHARDORA_CHECK(cudaMalloc(&memory, count * sizeof(float)));
    data_ = static_cast<float*>(memory);
  }
  explicit Floats(const std::vector<float>& values) : Floats(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~Floats() { cudaFree(data_); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  float* data() const { return data_; }
  std::vector<float> read() const { return {data_, data_ + count_}; }

 private:
  std::size_t count_;
  float* data_ = nullptr;
};

std::vector<float> one_to(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

template <class Kernel, class... Arguments>
void run(const Kernel& kernel, dim3 grid, dim3 block, std::size_t shared_bytes, const Arguments&... arguments) {
  launch(kernel, grid, block, shared_bytes, nullptr, arguments...);
}

// --- Reads beyond the end

__global__ void copy_kernel(const float* x, float* y, int shift) {
  y[threadIdx.x] = x[static_cast<int>(threadIdx.x) + shift];
}

__global__ void neighbour_kernel(float* y, int shift) {
  SHARDORA_SHARED(float, values, kThreads);
  const float* const all = values;
  values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = all[static_cast<int>(threadIdx.x) + shift];
}

__global__ void dynamic_neighbour_kernel(float* y, int shift) {
  SHARDORA_DYNAMIC_SHARED(float, values);
  values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[static_cast<int>(threadIdx.x) + shift];
}

class EmulatedMemoryDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kSanitized) GTEST_SKIP() << "the address sanitizer sees reads beyond the end; this build has none";
    testing::GTEST_FLAG(death_test_style) = "threadsafe";
  }
  Floats y_{kThreads};
};

TEST_F(EmulatedMemoryDeathTest, ReadBeyondGlobalMemoryIsFound) {
  const Floats x(one_to(kThreads));
  run(copy_kernel, 1, kThreads, 0, x.data(), y_.data(), 0);
  EXPECT_EQ(y_.read(), one_to(kThreads));
  EXPECT_DEATH(run(copy_kernel, 1, kThreads, 0, x.data(), y_.data(), 1), "heap-buffer-overflow");
}

TEST_F(EmulatedMemoryDeathTest, ReadBeyondSharedMemoryIsFound) {
  run(neighbour_kernel, 1, kThreads, 0, y_.data(), 0);
  EXPECT_DEATH(run(neighbour_kernel, 1, kThreads, 0, y_.data(), 1), "heap-buffer-overflow");
  run(dynamic_neighbour_kernel, 1, kThreads, kThreads * sizeof(float), y_.data(), 0);
  EXPECT_DEATH(run(dynamic_neighbour_kernel, 1, kThreads, kThreads * sizeof(float), y_.data(), 1),
               "heap-buffer-overflow");
}

TEST(LargeBlockDeathTest, WhatLiesBehindALargeBlockCannotBeRead) {
  const std::size_t count = (std::size_t{9} << 20) / sizeof(float) + 64;
  const Floats large(count);
  volatile const float* const beyond = large.data() + count;
  EXPECT_TRUE(std::isnan(large.data()[0]) && std::isnan(large.data()[count - 1]));
  EXPECT_DEATH(static_cast<void>(*beyond), "");
}

TEST(EmulatedMemory, IsNotANumberUntilItIsWritten) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{17}, std::size_t{1000003}, std::size_t{3000017}}) {
    const Floats first(count);
    const auto nan = [](float value) { return std::isnan(value); };
    EXPECT_TRUE(std::all_of(first.data(), first.data() + count, nan)) << count;
    std::fill_n(first.data(), count, 1.0F);
    const Floats second(count);
    EXPECT_TRUE(std::all_of(second.data(), second.data() + count, nan)) << count;
  }
}

TEST(EmulatedMemory, FreeingWhatWasNotAllocatedIsAnError) {
  float here = 0;
  EXPECT_EQ(cudaFree(&here), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

// --- Barriers

template <bool kBarrier>
__global__ void sum_kernel(const float* x, float* sum) {
  SHARDORA_SHARED(float, values, kThreads);
  values[threadIdx.x] = x[threadIdx.x];
  for (unsigned left = kThreads; left > 1; left = (left + 1) / 2) {
    if (kBarrier) __syncthreads();
    const unsigned half = (left + 1) / 2;
    if (threadIdx.x + half < left) values[threadIdx.x] += values[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *sum = values[0];
}

template <bool kBarrier>
int wrong_sums() {
  const Floats x(one_to(kThreads)), sum(1);
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    run(sum_kernel<kBarrier>, 1, kThreads, 0, x.data(), sum.data());
    wrong += sum.read()[0] == kThreads * (kThreads + 1) * 0.5F ? 0 : 1;  // NaN is wrong too
  }
  return wrong;
}

TEST(EmulatedBarrier, WithItASumIsRightInEveryOrder) { EXPECT_EQ(wrong_sums<true>(), 0); }
TEST(EmulatedBarrier, WithoutItASumGoesWrong) { EXPECT_GT(wrong_sums<false>(), 10); }

__global__ void barrier_of_some_kernel() {
  if (threadIdx.x != 5) __syncthreads();
}
__global__ void barriers_of_unequal_number_kernel() {
  for (unsigned i = 0; i <= threadIdx.x / 32; ++i) __syncthreads();
}

TEST(EmulatedBarrier, OneThatSomeThreadNeverReachesIsAnError) {
  EXPECT_THROW(run(barrier_of_some_kernel, 1, kThreads, 0), std::logic_error);
  EXPECT_THROW(run(barriers_of_unequal_number_kernel, 1, kThreads, 0), std::logic_error);
  EXPECT_EQ(wrong_sums<true>(), 0);  // the next launch is none the worse
}

// --- Shuffles

__global__ void neighbour_lane_kernel(unsigned mask, int source, float* y) {
  if ((mask >> threadIdx.x & 1U) != 0) y[threadIdx.x] = __shfl_sync(mask, static_cast<float>(threadIdx.x), source);
}
__global__ void lane_stays_away_kernel(float* y) {
  if (threadIdx.x != 7) y[threadIdx.x] = __shfl_sync(0xffffffffU, 1.0F, 0);
}
__global__ void not_in_the_mask_kernel(float* y) { y[threadIdx.x] = __shfl_sync(0x0000ffffU, 1.0F, 0); }

TEST(EmulatedShuffle, FromALaneThatDoesNotCallIsAnError) {
  const Floats y(32);
  run(neighbour_lane_kernel, 1, 32, 0, 0x0000ffffU, 15, y.data());
  EXPECT_EQ(y.read()[3], 15);
  EXPECT_THROW(run(neighbour_lane_kernel, 1, 32, 0, 0x0000ffffU, 16, y.data()), std::logic_error);
  EXPECT_THROW(run(lane_stays_away_kernel, 1, 32, 0, y.data()), std::logic_error);
  EXPECT_THROW(run(not_in_the_mask_kernel, 1, 32, 0, y.data()), std::logic_error);
  EXPECT_THROW(run(lane_stays_away_kernel, 1, 20, 0, y.data()), std::logic_error);  // a warp that is not full
}

// The halves of a warp shuffle among themselves, unequally often, then all together.
__global__ void halves_kernel(float* y) {
  const int half = static_cast<int>(threadIdx.x) / 16;
  float sum = 0;
  for (int i = 0; i < 3 + 2 * half; ++i) {
    sum += __shfl_sync(half == 0 ? 0x0000ffffU : 0xffff0000U, static_cast<float>(threadIdx.x), 16 * half + i);
  }
  y[threadIdx.x] = sum + 1000 * __shfl_sync(0xffffffffU, sum, 31 - static_cast<int>(threadIdx.x));
}

TEST(EmulatedShuffle, HalvesOfAWarpDoNotDisturbEachOther) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    const Floats y(32);
    run(halves_kernel, 1, 32, 0, y.data());
    for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(y.read()[i], i < 16 ? 3 + 90000 : 90 + 3000) << i;
  }
}

__global__ void reductions_kernel(const float* x, float* sum, float* twice, float* max) {
  sum[threadIdx.x] = block_reduce<SumOf>(x[threadIdx.x]);
  twice[threadIdx.x] = block_reduce<SumOf>(2 * x[threadIdx.x]);  // in the same memory
  max[threadIdx.x] = block_reduce<MaxOf>(x[threadIdx.x]);
}

TEST(EmulatedShuffle, ReductionsOfABlockGiveEveryThreadTheSameInEveryOrder) {
  constexpr float kSum = kThreads * (kThreads + 1) * 0.5F;
  const Floats x(one_to(kThreads)), sum(kThreads), twice(kThreads), max(kThreads);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    run(reductions_kernel, 1, kThreads, 0, x.data(), sum.data(), twice.data(), max.data());
    EXPECT_THAT(sum.read(), testing::Each(kSum));
    EXPECT_THAT(twice.read(), testing::Each(2 * kSum));
    EXPECT_THAT(max.read(), testing::Each(kThreads));
  }
}

// --- Blocks and their order

__global__ void leave_behind_kernel(float* found) {
  SHARDORA_SHARED(float, fixed, 1);
  SHARDORA_DYNAMIC_SHARED(float, dynamic);
  found[2 * blockIdx.x] = fixed[0];
  found[2 * blockIdx.x + 1] = dynamic[0];
  fixed[0] = dynamic[0] = 1;
}

TEST(EmulatedBlocks, SharedMemoryIsPoisonedForEach) {
  const Floats found(2 * 10);
  std::fill_n(found.data(), 2 * 10, 0.0F);
  run(leave_behind_kernel, 10, 1, sizeof(float), found.data());
  for (const float value : found.read()) EXPECT_TRUE(std::isnan(value)) << value;
}

std::vector<unsigned>& visited() {
  static std::vector<unsigned> order;
  return order;
}
__global__ void visit_kernel() { visited().push_back(blockIdx.x * blockDim.x + threadIdx.x); }

std::vector<unsigned> order_of(std::uint64_t seed, unsigned blocks, unsigned threads) {
  emulation::set_seed(seed);
  visited().clear();
  run(visit_kernel, blocks, threads, 0);
  return visited();
}

TEST(EmulatedBlocks, RunInAnOrderThatTheSeedChooses) {
  std::vector<unsigned> all(40);
  std::iota(all.begin(), all.end(), 0U);
  for (const auto& [blocks, threads] : {std::pair{40U, 1U}, {1U, 40U}}) {
    const std::vector<unsigned> first = order_of(1, blocks, threads);
    EXPECT_EQ(order_of(1, blocks, threads), first);
    EXPECT_NE(order_of(2, blocks, threads), first);
    EXPECT_NE(first, all);
    EXPECT_THAT(first, testing::UnorderedElementsAreArray(all));
  }
}

__global__ void place_kernel(float* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<float>(block * 100 + thread);
}

TEST(EmulatedBlocks, EveryThreadOfEveryBlockRunsOnce) {
  const Floats y(2 * 3 * 5 * 3 * 2 * 4);
  run(place_kernel, dim3(2, 3, 5), dim3(3, 2, 4), 0, y.data());
  const std::vector<float> values = y.read();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i / 24 * 100 + i % 24);
}

__global__ void throwing_kernel(float*) {
  __syncthreads();
  if (threadIdx.x == 3) throw std::runtime_error("from a thread");
}

TEST(EmulatedBlocks, WhatAThreadThrowsReachesTheLaunch) {
  EXPECT_THROW(run(throwing_kernel, 2, kThreads, 0, static_cast<float*>(nullptr)), std::runtime_error);
  EXPECT_EQ(wrong_sums<true>(), 0);
}

}  // namespace
}  // namespace shardora::cuda
