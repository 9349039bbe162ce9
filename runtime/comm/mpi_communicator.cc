#include "runtime/comm/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "runtime/comm/mpi_check.h"

namespace shardora {
namespace {

constexpr int kGatherTag = 1;

MPI_Datatype mpi_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return MPI_FLOAT;
    case DType::kF64:
      return MPI_DOUBLE;
    case DType::kI32:
      return MPI_INT32_T;
    case DType::kI64:
      return MPI_INT64_T;
    default:
      refuse(ExitStatus::kInternal, "all_reduce of a type without arithmetic; this is a defect, please report it");
  }
}

MPI_Op mpi_operation(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return MPI_SUM;
    case Reduction::kMax:
      return MPI_MAX;
    case Reduction::kMin:
      return MPI_MIN;
  }
  refuse(ExitStatus::kInternal, "unknown reduction; this is a defect, please report it");
}

// Host work is done when the call that asks for it returns, so a host event has always passed. One that has not is a
// device's: its memory is not for MPI.
void require_passed(const Event& after) { SHARDORA_CHECK(after.handle == nullptr); }

void require_memory(const TensorView& values) { SHARDORA_CHECK(values.data != nullptr || values.bytes() == 0); }

// Calls piece(start, count) for the pieces of [0, total).
template <class Piece>
void for_each_piece(std::int64_t total, std::int64_t longest, const Piece& piece) {
  for (std::int64_t start = 0; start < total; start += longest) {
    piece(start, static_cast<int>(std::min(longest, total - start)));
  }
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, std::int64_t piece)
    : communicator_(communicator), piece_(piece) {
  SHARDORA_CHECK(piece >= 1 && piece <= kPiece);
  SHARDORA_CHECK(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
  SHARDORA_CHECK(MPI_Comm_rank(communicator_, &rank_));
  SHARDORA_CHECK(MPI_Comm_size(communicator_, &size_));
  counts_.resize(static_cast<std::size_t>(size_));
  starts_.resize(static_cast<std::size_t>(size_));
}

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, CollectiveObserver* observer, GroupKind kind)
    : MpiCommunicator(communicator) {
  if (size_ > 1) observer_ = observer;
  SHARDORA_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &world_rank_));
  kind_ = kind;
}

MpiCommunicator::~MpiCommunicator() { MPI_Comm_free(&communicator_); }

Event MpiCommunicator::all_reduce(TensorView values, Reduction reduction, const Event& after) {
  require_passed(after);
  require_memory(values);
  const MPI_Datatype type = mpi_type(values.dtype);
  const MPI_Op operation = mpi_operation(reduction);
  const std::int64_t element_bytes = size_bytes(values.dtype);
  const CollectiveScope scope = enter("all_reduce", values.dtype, values.elements());
  for_each_piece(values.elements(), piece_, [&](std::int64_t start, int count) {
    reduce_piece(static_cast<std::byte*>(values.data) + start * element_bytes, count, type, element_bytes, operation);
  });
  return {};
}

// Every element is reduced on one rank and then copied to all, so the result has the same bits on every rank.
// MPI_Allreduce only recommends that to its implementations: its recursive doubling adds a + b on one rank and b + a on
// another, which differ where both are NaN, and max picks another operand where one is.
void MpiCommunicator::reduce_piece(void* values, int count, MPI_Datatype type, std::int64_t element_bytes,
                                   MPI_Op operation) {
  if (observer_ != nullptr) observer_->progressed();
  constexpr int kSmall = 4096;  // elements: below, latency counts, and the fewer messages of a tree win
  if (size_ == 1) return;
  if (count <= kSmall) {
    void* const result = rank_ == 0 ? values : nullptr;
    SHARDORA_CHECK(MPI_Reduce(rank_ == 0 ? MPI_IN_PLACE : values, result, count, type, operation, 0, communicator_));
    SHARDORA_CHECK(MPI_Bcast(values, count, type, 0, communicator_));
    return;
  }
  int start = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] = count / size_ + (static_cast<int>(i) < count % size_ ? 1 : 0);
    starts_[i] = start;
    start += counts_[i];
  }
  SHARDORA_CHECK(MPI_Reduce_scatter(MPI_IN_PLACE, values, counts_.data(), type, operation, communicator_));
  // In place, MPI leaves this rank's share at the front of the buffer.
  const auto mine = static_cast<std::size_t>(rank_);
  std::memmove(static_cast<std::byte*>(values) + starts_[mine] * element_bytes, values,
               static_cast<std::size_t>(counts_[mine] * element_bytes));
  SHARDORA_CHECK(
      MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, counts_.data(), starts_.data(), type, communicator_));
}

Event MpiCommunicator::broadcast(TensorView values, int root, const Event& after) {
  require_passed(after);
  require_memory(values);
  SHARDORA_CHECK(root >= 0 && root < size_);
  const CollectiveScope scope = enter("broadcast", DType::kU8, values.bytes());
  for_each_piece(values.bytes(), piece_, [&](std::int64_t start, int count) {
    SHARDORA_CHECK(MPI_Bcast(static_cast<std::byte*>(values.data) + start, count, MPI_BYTE, root, communicator_));
  });
  return {};
}

std::vector<std::vector<std::byte>> MpiCommunicator::gather(std::span<const std::byte> mine, int root) {
  SHARDORA_CHECK(root >= 0 && root < size_);
  const CollectiveScope scope = enter("gather");
  auto bytes = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> sizes(rank_ == root ? static_cast<std::size_t>(size_) : 0);
  SHARDORA_CHECK(MPI_Gather(&bytes, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, root, communicator_));
  if (rank_ != root) {
    send(mine, root);
    return {};
  }
  std::vector<std::vector<std::byte>> all(sizes.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].resize(static_cast<std::size_t>(sizes[i]));
    if (static_cast<int>(i) == root) {
      std::copy(mine.begin(), mine.end(), all[i].begin());
    } else {
      receive(all[i], static_cast<int>(i));
    }
  }
  return all;
}

void MpiCommunicator::send(std::span<const std::byte> bytes, int to) const {
  for_each_piece(static_cast<std::int64_t>(bytes.size()), piece_, [&](std::int64_t start, int count) {
    SHARDORA_CHECK(MPI_Send(bytes.data() + start, count, MPI_BYTE, to, kGatherTag, communicator_));
  });
}

void MpiCommunicator::receive(std::span<std::byte> bytes, int from) const {
  for_each_piece(static_cast<std::int64_t>(bytes.size()), piece_, [&](std::int64_t start, int count) {
    SHARDORA_CHECK(MPI_Recv(bytes.data() + start, count, MPI_BYTE, from, kGatherTag, communicator_, MPI_STATUS_IGNORE));
  });
}

void MpiCommunicator::barrier() {
  const CollectiveScope scope = enter("barrier");
  SHARDORA_CHECK(MPI_Barrier(communicator_));
}

CollectiveScope MpiCommunicator::enter(const char* operation, DType dtype, std::int64_t count) {
  if (observer_ != nullptr) {
    observer_->entered({.group = kind_, .operation = operation, .dtype = dtype, .count = count});
    const std::string call = observer_->compared();
    if (!call.empty()) require_same_call(call);
  }
  return {observer_, kind_};
}

// The debug mode: a collective that is not the same on all ranks of its group would hang, or mix up their data.
void MpiCommunicator::require_same_call(const std::string& call) const {
  using Text = std::array<char, 192>;  // ends in 0
  Text mine{};
  call.copy(mine.data(), mine.size() - 1);
  std::vector<Text> all(static_cast<std::size_t>(size_));
  SHARDORA_CHECK(
      MPI_Allgather(mine.data(), sizeof mine, MPI_BYTE, all.data()->data(), sizeof mine, MPI_BYTE, communicator_));
  std::vector<int> ranks(all.size());
  SHARDORA_CHECK(MPI_Allgather(&world_rank_, 1, MPI_INT, ranks.data(), 1, MPI_INT, communicator_));
  const auto other = std::find_if(all.begin(), all.end(), [&](const Text& text) { return text != all.front(); });
  if (other == all.end()) return;
  if (rank_ != 0) std::this_thread::sleep_for(std::chrono::seconds(1));  // one rank reports it and ends the others
  refuse(
      ExitStatus::kMismatch,
      "ranks do not call the same collectives: rank {} calls {}; rank {} calls {}; this is a defect, please report it",
      ranks.front(), all.front().data(), ranks[static_cast<std::size_t>(other - all.begin())], other->data());
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::split(int color, int key, GroupKind kind) {
  const CollectiveScope scope = enter("split");
  MPI_Comm group = MPI_COMM_NULL;
  SHARDORA_CHECK(MPI_Comm_split(communicator_, color, key, &group));
  return observed(group, kind);
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::split_by_host() {
  const CollectiveScope scope = enter("split");
  MPI_Comm group = MPI_COMM_NULL;
  SHARDORA_CHECK(MPI_Comm_split_type(communicator_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &group));
  return observed(group, GroupKind::kHost);
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::observed(MPI_Comm group, GroupKind kind) {
  if (observer_ == nullptr) return std::make_unique<MpiCommunicator>(group, piece_);
  int lowest = rank_;  // only the world is split
  SHARDORA_CHECK(MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, group));
  observer_->joined(kind, lowest);
  return std::make_unique<MpiCommunicator>(group, observer_, kind);
}

}  // namespace shardora
