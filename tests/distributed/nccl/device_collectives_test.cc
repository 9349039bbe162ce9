// Collectives on device memory, both ways there are, on the emulated CUDA backend and on a device that does nothing
// before it must. Inputs are whole numbers: every sum is exact and compared with ==.
#include <gmock/gmock.h>

#include <numeric>

#include "kernels/float_types.h"
#include "runtime/comm/host_staged_communicator.h"
#include "runtime/comm/nccl_communicator.h"
#include "tests/distributed/nccl/device_test.h"

namespace shardora::testing {
namespace {

// Longer than the smallest pieces, and than the stand-in's.
constexpr std::int64_t kSizes[] = {0, 1, 17, 127, 4099};

struct Way {
  const char* name;
  bool nccl, deferred;
  int polls = 0;                  // NCCL: answers of "in progress" to each call
  std::int64_t piece_bytes = 64;  // staged
};
std::ostream& operator<<(std::ostream& out, const Way& way) { return out << way.name; }

class DeviceCollectives : public DeviceTest, public ::testing::WithParamInterface<Way> {
 protected:
  DeviceCollectives() : emulated_(make_backend(BackendKind::kCuda, {})) {
    if (!GetParam().deferred) stand_in().enqueue = nullptr;
    stand_in().init_polls = stand_in().collective_polls = stand_in().finalize_polls = GetParam().polls;
  }
  Backend& backend() { return GetParam().deferred ? static_cast<Backend&>(device_) : *emulated_; }
  std::unique_ptr<Communicator> make_group(Communicator& host) {
    if (!GetParam().nccl) return std::make_unique<HostStagedCommunicator>(backend(), host, GetParam().piece_bytes);
    return std::make_unique<NcclCommunicator>(library(), backend(), host, "test group");
  }

  template <class T>
  void expect_as_on_the_host(Communicator& group, std::int64_t size, Reduction reduction) {
    std::vector<T> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const int size_of_value = (group.rank() + 1) * 1000 + static_cast<int>(i) % 911;
      values[i] = static_cast<T>(group.rank() % 2 == 0 ? size_of_value : -size_of_value);
    }
    DeviceValues<T> on_device(backend(), values, dtype_of<T>());
    backend().wait(group.all_reduce(on_device.view(), reduction, backend().record()));
    const std::vector<T>& result = on_device.read();
    group.host().all_reduce(view_of(std::span(values), {size}), reduction, {});
    EXPECT_TRUE(result == values) << "size " << size << ", reduction " << static_cast<int>(reduction);
  }

 private:
  std::unique_ptr<Backend> emulated_;
};

TEST_P(DeviceCollectives, AllReduceGivesWhatTheHostsGives) {
  const auto group = make_group(test_world());
  for (const std::int64_t size : kSizes) {
    for (const Reduction reduction : {Reduction::kSum, Reduction::kMax, Reduction::kMin}) {
      expect_as_on_the_host<float>(*group, size, reduction);
      expect_as_on_the_host<double>(*group, size, reduction);
      expect_as_on_the_host<std::int32_t>(*group, size, reduction);
      expect_as_on_the_host<std::int64_t>(*group, size, reduction);
    }
  }
}

TEST_P(DeviceCollectives, AllReduceOfBfloat16IsExactWhereTheSumIs) {
  const auto group = make_group(test_world());
  for (const std::int64_t size : kSizes) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(size)), wanted(values.size());
    const int ranks = group->size();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const int place = static_cast<int>(i) % 13;
      values[i] = bf16_from_float(static_cast<float>(place + group->rank()));
      wanted[i] = bf16_from_float(static_cast<float>(ranks * place) + static_cast<float>(ranks * (ranks - 1)) * 0.5F);
    }
    DeviceValues<std::uint16_t> on_device(backend(), values, DType::kBF16);
    backend().wait(group->all_reduce(on_device.view(), Reduction::kSum, backend().record()));
    EXPECT_TRUE(on_device.read() == wanted) << "size " << size;
  }
}

TEST_P(DeviceCollectives, AllReduceRefusesTypesWithoutArithmetic) {
  const auto group = make_group(test_world());
  DeviceValues<std::uint8_t> bytes(backend(), std::vector<std::uint8_t>(8), DType::kU8);
  if (group->size() > 1 || GetParam().nccl) {
    EXPECT_THROW(group->all_reduce(bytes.view(), Reduction::kSum, backend().record()), Error);
  }
  backend().synchronize();
}

TEST_P(DeviceCollectives, SeveralInARowKeepTheirOrderAndTheirValues) {
  const auto group = make_group(test_world());
  std::vector<std::unique_ptr<DeviceValues<float>>> all;
  const auto ranks = static_cast<float>(group->size());
  for (int i = 0; i < 100; ++i) {  // more than a ring of what is under way holds
    all.push_back(
        std::make_unique<DeviceValues<float>>(backend(), std::vector<float>(33, static_cast<float>(i)), DType::kF32));
    const Event once = group->all_reduce(all.back()->view(), Reduction::kSum, backend().record());
    backend().wait(group->all_reduce(all.back()->view(), Reduction::kSum, once));
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(all[static_cast<std::size_t>(i)]->read(), std::vector<float>(33, static_cast<float>(i) * ranks * ranks));
  }
}

TEST_P(DeviceCollectives, StartAfterTheEventOfAnotherQueue) {
  const auto group = make_group(test_world());
  std::vector<float> ones(40, 1.0F);
  DeviceValues<float> values(backend(), std::vector<float>(40, -7.0F), DType::kF32);
  backend().synchronize();
  const auto other = backend().make_queue();
  const auto write = [&] { std::copy(ones.begin(), ones.end(), static_cast<float*>(values.view().data)); };
  GetParam().deferred ? static_cast<DeferredQueue&>(*other).add(write) : write();
  backend().wait(group->all_reduce(values.view(), Reduction::kSum, other->record()));
  EXPECT_EQ(values.read(), std::vector<float>(40, group->size() == 1 ? 1.0F : static_cast<float>(group->size())));
}

TEST_P(DeviceCollectives, BroadcastGivesTheRootsBytesToAll) {
  const auto group = make_group(test_world());
  for (const std::int64_t size : kSizes) {
    for (int root = 0; root < group->size(); ++root) {
      std::vector<std::int32_t> mine(static_cast<std::size_t>(size), -100 - group->rank()), wanted(mine.size());
      std::iota(wanted.begin(), wanted.end(), root * 1000);
      if (group->rank() == root) mine = wanted;
      DeviceValues<std::int32_t> values(backend(), mine, DType::kI32);
      backend().wait(group->broadcast(values.view(), root, backend().record()));
      EXPECT_TRUE(values.read() == wanted) << "size " << size << ", root " << root;
    }
  }
}

TEST_P(DeviceCollectives, WhatStandsOnTheHostGoesThroughTheHostsGroup) {
  const auto group = make_group(test_world());
  const int size = group->size();
  EXPECT_EQ(group->all_reduce(std::int64_t{group->rank()}, Reduction::kSum), size * (size - 1) / 2);
  EXPECT_EQ(group->all_reduce(group->rank() + 0.5, Reduction::kMax), size - 0.5);
  EXPECT_EQ(group->broadcast(group->rank() == size - 1 ? "text" : "", size - 1), "text");
  const std::vector<std::byte> mine(static_cast<std::size_t>(group->rank()), std::byte{3});
  EXPECT_EQ(std::ssize(group->gather(mine, 0)), group->rank() == 0 ? size : 0);
  group->barrier();
  EXPECT_EQ(&group->host(), &test_world());
  EXPECT_EQ(&test_world().host(), &test_world());
}

TEST_P(DeviceCollectives, TwoGroupsOfTheGridDoNotMixTheirRanks) {
  const int tensor = test_world().size() % 2 == 0 ? 2 : 1;
  const ProcessGrid& grid = mpi_session().make_grid({.tensor = tensor});
  const auto rows = make_group(*grid.tensor_group), columns = make_group(*grid.data_group);
  expect_as_on_the_host<float>(*rows, 127, Reduction::kSum);
  expect_as_on_the_host<float>(*columns, 127, Reduction::kSum);
  expect_as_on_the_host<double>(*rows, 17, Reduction::kMax);
}

INSTANTIATE_TEST_SUITE_P(, DeviceCollectives,
                         ::testing::Values(Way{"nccl", true, false}, Way{"nccl_in_progress", true, false, 3},
                                           Way{"nccl_deferred", true, true},
                                           Way{"nccl_deferred_in_progress", true, true, 2}, Way{"staged", false, false},
                                           Way{"staged_deferred", false, true},
                                           Way{"staged_whole_pieces", false, true, 0, 1 << 20}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace shardora::testing
