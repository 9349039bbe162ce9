// ProcessGrid: the ranks as a grid with named axes data x pipeline (1 for now) x tensor. Tensor ranks are neighbours on
// one host, whatever order the launcher gave: ranks are sorted by host before they are numbered.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/options.h"

namespace shardora {

struct GridPosition {
  int rank = 0, size = 1;
};

struct ProcessGrid {
  GridPosition data, pipeline, tensor;
  Communicator* world = nullptr;         // all ranks, in the launcher's order
  Communicator* data_group = nullptr;    // ranks that hold the same shard and see other sequences
  Communicator* tensor_group = nullptr;  // ranks that share one replica of the model
};

// Where each rank stands, from the host that each runs on: the arithmetic of the grid, without MPI. Throws
// Error(kUsage), naming the sizes that would work, where `tensor` does not divide the ranks.
struct GridPlace {
  int data = 0, tensor = 0;
};
std::vector<GridPlace> place_ranks(const std::vector<int>& host_of_rank, int tensor);

}  // namespace shardora
