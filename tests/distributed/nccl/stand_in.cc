#include "tests/distributed/nccl/stand_in.h"

#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/float_types.h"

namespace shardora::testing {

StandIn& stand_in() {
  static StandIn one;
  return one;
}

namespace {

enum Result : int { kSuccess = 0, kInvalidArgument = 4, kInProgress = 7 };

struct UniqueId {
  int root = 0, number = 0;  // a rank of the world, and the tag by which ranks find each other there
  char unused[120] = {};
};

struct Communicator {
  MPI_Comm ranks = MPI_COMM_NULL;
  int polls_left = 0;  // kForEver: none is the last
  std::function<void()> pending;
  bool ended = false;
};

// Nothing is deleted: what is asked of an ended communicator is counted, not crashed on.
std::vector<std::unique_ptr<Communicator>>& all() {
  static std::vector<std::unique_ptr<Communicator>> communicators;
  return communicators;
}

bool alive(const Communicator* communicator) {
  if (communicator != nullptr && !communicator->ended) return true;
  ++stand_in().counts.misuse;
  return false;
}

// Does the work now, or at the last of `polls` questions.
int start(Communicator& communicator, int polls, std::function<void()> work) {
  communicator.polls_left = polls;
  if (polls == 0) {
    work();
    return kSuccess;
  }
  communicator.pending = std::move(work);
  return kInProgress;
}

int poll(Communicator& communicator) {
  if (communicator.polls_left == kForEver) return kInProgress;
  if (communicator.polls_left == 0) return kSuccess;
  if (--communicator.polls_left > 0) return kInProgress;
  std::exchange(communicator.pending, nullptr)();
  return kSuccess;
}

// The root learns who the others are and tells all.
MPI_Comm meet(const UniqueId& id, int ranks, int rank) {
  int me = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &me);
  std::vector<int> members(static_cast<std::size_t>(ranks), me);
  if (rank == 0) {
    for (int i = 1; i < ranks; ++i) {
      int other[2];
      MPI_Recv(other, 2, MPI_INT, MPI_ANY_SOURCE, id.number, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      members[static_cast<std::size_t>(other[0])] = other[1];
    }
    for (int i = 1; i < ranks; ++i) {
      MPI_Send(members.data(), ranks, MPI_INT, members[static_cast<std::size_t>(i)], id.number, MPI_COMM_WORLD);
    }
  } else {
    const int mine[2] = {rank, me};
    MPI_Send(mine, 2, MPI_INT, id.root, id.number, MPI_COMM_WORLD);
    MPI_Recv(members.data(), ranks, MPI_INT, id.root, id.number, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_incl(world, ranks, members.data(), &group);
  MPI_Comm made = MPI_COMM_NULL;
  MPI_Comm_create_group(MPI_COMM_WORLD, group, id.number, &made);
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  return made;
}

// Every rank's values, reduced in the order of the ranks.
template <class T, class Arithmetic = T, class Load, class Store>
void reduce(const void* from, void* to, std::size_t count, int operation, MPI_Comm ranks, const Load& load,
            const Store& store) {
  int size = 1;
  MPI_Comm_size(ranks, &size);
  const int bytes = static_cast<int>(count * sizeof(T));
  std::vector<T> everyone(count * static_cast<std::size_t>(size));
  MPI_Allgather(from, bytes, MPI_BYTE, everyone.data(), bytes, MPI_BYTE, ranks);
  const std::span result(static_cast<T*>(to), count);
  for (std::size_t i = 0; i < count; ++i) {
    Arithmetic value = load(everyone[i]);
    for (std::size_t at = i + count; at < everyone.size(); at += count) {
      const Arithmetic next = load(everyone[at]);
      value = operation == 0 ? value + next : operation == 2 ? std::max(value, next) : std::min(value, next);
    }
    result[i] = store(value);
  }
}

template <class T>
void reduce(const void* from, void* to, std::size_t count, int operation, MPI_Comm ranks) {
  const auto as_it_is = [](T value) { return value; };
  reduce<T>(from, to, count, operation, ranks, as_it_is, as_it_is);
}

void reduce_typed(const void* from, void* to, std::size_t count, int type, int operation, MPI_Comm ranks) {
  switch (type) {
    case 2:
      return reduce<std::int32_t>(from, to, count, operation, ranks);
    case 4:
      return reduce<std::int64_t>(from, to, count, operation, ranks);
    case 7:
      return reduce<float>(from, to, count, operation, ranks);
    case 8:
      return reduce<double>(from, to, count, operation, ranks);
    case 9:
      return reduce<std::uint16_t, float>(
          from, to, count, operation, ranks, [](std::uint16_t bits) { return float_from_bf16(bits); },
          [](float value) { return bf16_from_float(value); });
    default:
      ++stand_in().counts.misuse;
  }
}

int collective(Communicator* communicator, void* stream, std::function<void()> work) {
  StandIn& control = stand_in();
  if (!alive(communicator)) return kInvalidArgument;
  ++control.counts.collectives;
  if (control.collective_result != 0) return control.collective_result;
  return start(*communicator, control.collective_polls, [&control, stream, work = std::move(work)] {
    if (control.enqueue) return control.enqueue(stream, control.collectives_stick ? nullptr : work);
    if (!control.collectives_stick) work();
  });
}

void end(Communicator& communicator) {
  communicator.ended = true;
  --stand_in().counts.alive;
}

}  // namespace
}  // namespace shardora::testing

// NOLINTBEGIN: NCCL's own names
using shardora::testing::Communicator;
using shardora::testing::stand_in;
using shardora::testing::UniqueId;
static_assert(sizeof(UniqueId) == 128);

extern "C" {

int ncclGetVersion(int* version) {
  *version = stand_in().version;
  return 0;
}

int ncclGetUniqueId(UniqueId* id) {
  static int number = 1000;
  *id = {};
  MPI_Comm_rank(MPI_COMM_WORLD, &id->root);
  id->number = ++number;
  return stand_in().unique_id_result;
}

int ncclCommInitRankConfig(Communicator** made, int ranks, UniqueId id, int rank, void*) {
  auto& communicators = shardora::testing::all();
  communicators.push_back(std::make_unique<Communicator>());
  Communicator& one = *communicators.back();
  *made = &one;
  ++stand_in().counts.inits, ++stand_in().counts.alive;
  return shardora::testing::start(one, stand_in().init_polls,
                                  [&one, ranks, id, rank] { one.ranks = shardora::testing::meet(id, ranks, rank); });
}

int ncclCommFinalize(Communicator* communicator) {
  if (!shardora::testing::alive(communicator)) return shardora::testing::kInvalidArgument;
  ++stand_in().counts.finalizes;
  return shardora::testing::start(*communicator, stand_in().finalize_polls, [] {});
}

int ncclCommDestroy(Communicator* communicator) {
  if (!shardora::testing::alive(communicator)) return shardora::testing::kInvalidArgument;
  ++stand_in().counts.destroys;
  shardora::testing::end(*communicator);
  return 0;
}

int ncclCommAbort(Communicator* communicator) {
  if (!shardora::testing::alive(communicator)) return shardora::testing::kInvalidArgument;
  ++stand_in().counts.aborts;
  return shardora::testing::start(*communicator, stand_in().abort_polls,
                                  [communicator] { shardora::testing::end(*communicator); });
}

int ncclCommGetAsyncError(Communicator* communicator, int* error) {
  if (!shardora::testing::alive(communicator)) return shardora::testing::kInvalidArgument;
  *error = stand_in().async_error != 0 ? stand_in().async_error : shardora::testing::poll(*communicator);
  return 0;
}

const char* ncclGetErrorString(int result) {
  return result == 6 ? "remote process exited or there was a network error" : "an error of the stand-in";
}
const char* ncclGetLastError(Communicator*) { return "the stand-in's last word"; }

int ncclAllReduce(const void* from, void* to, std::size_t count, int type, int operation, Communicator* communicator,
                  void* stream) {
  return shardora::testing::collective(communicator, stream, [=] {
    shardora::testing::reduce_typed(from, to, count, type, operation, communicator->ranks);
  });
}

int ncclBroadcast(const void* from, void* to, std::size_t count, int type, int root, Communicator* communicator,
                  void* stream) {
  return shardora::testing::collective(communicator, stream, [=] {
    if (type != 0) ++stand_in().counts.misuse;
    if (from != to) std::memcpy(to, from, count);
    MPI_Bcast(to, static_cast<int>(count), MPI_BYTE, root, communicator->ranks);
  });
}

}  // extern "C"
// NOLINTEND
