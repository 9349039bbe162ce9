// NCCL as this program knows it: loaded when it is wanted, so that one program runs with and without it, and none needs
// its header to be built. What stands here is the interface of NCCL 2.19, which later versions keep; a test compares it
// with the real header where there is one.
#pragma once

#include <climits>
#include <cstddef>
#include <string>

namespace shardora::nccl {

constexpr int kOldestVersion = 21900;  // 2.19: major * 10000 + minor * 100 + patch

using Communicator = struct OpaqueCommunicator*;  // ncclComm_t
using Stream = void*;                             // cudaStream_t

struct UniqueId {
  char internal[128];
};

enum class Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};
enum class DataType : int { kInt8 = 0, kInt32 = 2, kInt64 = 4, kFloat32 = 7, kFloat64 = 8, kBfloat16 = 9 };
enum class Operation : int { kSum = 0, kMax = 2, kMin = 3 };

// ncclConfig_t. A newer NCCL learns by size and version which fields are meant.
struct Config {
  static constexpr int kDefault = INT_MIN;
  std::size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = kOldestVersion;
  int blocking = kDefault;
  int cga_cluster_size = kDefault;
  int min_ctas = kDefault;
  int max_ctas = kDefault;
  const char* net_name = nullptr;
  int split_share = kDefault;
};

// The functions, loaded. Nothing is ever unloaded: NCCL's threads may outlive every communicator.
struct Library {
  std::string path;
  int version = 0;  // as kOldestVersion

  Result (*get_unique_id)(UniqueId* id) = nullptr;
  Result (*init_rank)(Communicator* made, int ranks, UniqueId id, int rank, Config* config) = nullptr;
  Result (*finalize)(Communicator communicator) = nullptr;
  Result (*destroy)(Communicator communicator) = nullptr;
  Result (*abort)(Communicator communicator) = nullptr;
  Result (*async_error)(Communicator communicator, Result* error) = nullptr;
  const char* (*error_string)(Result result) = nullptr;
  const char* (*last_error)(Communicator communicator) = nullptr;
  Result (*all_reduce)(const void* from, void* to, std::size_t count, DataType type, Operation operation,
                       Communicator communicator, Stream stream) = nullptr;
  Result (*broadcast)(const void* from, void* to, std::size_t count, DataType type, int root, Communicator communicator,
                      Stream stream) = nullptr;

  std::string description() const;  // "NCCL 2.28.9"
};

// Loads `path`, or where it is empty libnccl.so.2 as the system finds it. Throws Error(kUnavailable) with found, needed
// and remedy where it is missing, too old, or no NCCL.
Library load(const std::string& path);
// What the environment asks for: SHARDORA_NCCL_LIBRARY, for installations where the system does not look. May be empty.
std::string library_path();

}  // namespace shardora::nccl
