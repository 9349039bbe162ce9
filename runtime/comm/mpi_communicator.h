// A Communicator over MPI, on host memory. It works at once: when a call returns, its work is done, and the event it
// returns has passed.
#pragma once

#include <mpi.h>

#include "runtime/comm/collective_observer.h"
#include "runtime/comm/communicator.h"

namespace shardora {

class MpiCommunicator final : public Communicator {
 public:
  // Elements (or bytes) handed to MPI in one call: its counts are int, and it sizes temporaries by them.
  static constexpr std::int64_t kPiece = std::int64_t{1} << 26;

  // Takes ownership of `communicator`, which is not MPI_COMM_WORLD itself. `piece` is smaller in tests.
  explicit MpiCommunicator(MPI_Comm communicator, std::int64_t piece = kPiece);
  // The same for a group whose collectives are observed. `observer` is not owned and outlives this.
  MpiCommunicator(MPI_Comm communicator, CollectiveObserver* observer, GroupKind kind);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  using Communicator::all_reduce;
  using Communicator::broadcast;
  Event all_reduce(TensorView values, Reduction reduction, const Event& after) override;
  Event broadcast(TensorView values, int root, const Event& after) override;
  Communicator& host() override { return *this; }
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, int root) override;
  void barrier() override;

  // A new group of the ranks that give the same color, numbered in the order of their keys. It is observed as a group
  // of that kind, where this one is observed.
  std::unique_ptr<MpiCommunicator> split(int color, int key, GroupKind kind);
  // The ranks that share this one's host, in this communicator's order.
  std::unique_ptr<MpiCommunicator> split_by_host();

 private:
  [[nodiscard]] CollectiveScope enter(const char* operation, DType dtype = DType::kU8, std::int64_t count = 0);
  void require_same_call(const std::string& call) const;
  std::unique_ptr<MpiCommunicator> observed(MPI_Comm group, GroupKind kind);
  void reduce_piece(void* values, int count, MPI_Datatype type, std::int64_t element_bytes, MPI_Op operation);
  void send(std::span<const std::byte> bytes, int to) const;
  void receive(std::span<std::byte> bytes, int from) const;

  MPI_Comm communicator_;
  std::int64_t piece_;
  CollectiveObserver* observer_ = nullptr;  // not owned; null: none, or a group of one rank
  GroupKind kind_ = GroupKind::kWorld;
  int rank_ = 0, size_ = 1, world_rank_ = 0;
  std::vector<int> counts_, starts_;  // each rank's share of a piece, in elements
};

}  // namespace shardora
