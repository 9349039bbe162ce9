// A communicator of a given place and size that says nothing to anybody: for rehearsals, whose values mean nothing.
#pragma once

#include "runtime/comm/communicator.h"

namespace shardora {

class RehearsalCommunicator final : public Communicator {
 public:
  RehearsalCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Event all_reduce(TensorView, Reduction, const Event&) override { return {}; }
  Event broadcast(TensorView, int, const Event&) override { return {}; }
  Communicator& host() override { return *this; }
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, int) override {
    return {std::vector<std::byte>(mine.begin(), mine.end())};
  }
  void barrier() override {}

 private:
  int rank_, size_;
};

}  // namespace shardora
