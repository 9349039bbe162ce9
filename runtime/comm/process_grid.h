// ProcessGrid: the ranks as a grid with named axes data x pipeline (1 for now) x tensor. Tensor ranks are neighbours on
// one host, whatever order the launcher gave: each host's ranks fill whole tensor groups first, and only what is left
// over of several hosts is put together. Rank 0 stands at the grid's origin.
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
  std::vector<int> hosts = {};           // of each rank of the world: the lowest rank on its host
  Communicator* world = nullptr;         // all ranks, in the launcher's order
  Communicator* data_group = nullptr;    // ranks that hold the same shard and see other sequences
  Communicator* tensor_group = nullptr;  // ranks that share one replica of the model
  std::string warning = {};              // empty, or what is slow in this arrangement and need not be
};

// Where each rank stands, from the host that each runs on: the arithmetic of the grid, without MPI. Throws
// Error(kUsage), naming the sizes that would work, where `tensor` does not divide the ranks.
struct GridPlace {
  int data = 0, tensor = 0;
};
std::vector<GridPlace> place_ranks(const std::vector<int>& host_of_rank, int tensor);
// Empty unless a tensor group has ranks of several hosts although a host has enough for a whole one.
std::string spread_warning(const std::vector<int>& host_of_rank, int tensor);

}  // namespace shardora
