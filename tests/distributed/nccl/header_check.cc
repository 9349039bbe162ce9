// What runtime/comm/nccl_library.h says of NCCL against NCCL's own header: this file compiles or it does not.
#include <nccl.h>

#include <type_traits>

#include "runtime/comm/nccl_library.h"

namespace shardora::nccl {

static_assert(NCCL_VERSION_CODE >= kOldestVersion);
static_assert(NCCL_VERSION(2, 19, 0) == kOldestVersion);

// The fields that we know stand where NCCL looks for them; newer ones come after.
#define SHARDORA_SAME_FIELD(ours, theirs)                                  \
  static_assert(offsetof(Config, ours) == offsetof(ncclConfig_t, theirs)); \
  static_assert(std::is_same_v<decltype(Config::ours), decltype(ncclConfig_t::theirs)>)
SHARDORA_SAME_FIELD(size, size);
SHARDORA_SAME_FIELD(magic, magic);
SHARDORA_SAME_FIELD(version, version);
SHARDORA_SAME_FIELD(blocking, blocking);
SHARDORA_SAME_FIELD(cga_cluster_size, cgaClusterSize);
SHARDORA_SAME_FIELD(min_ctas, minCTAs);
SHARDORA_SAME_FIELD(max_ctas, maxCTAs);
SHARDORA_SAME_FIELD(net_name, netName);
SHARDORA_SAME_FIELD(split_share, splitShare);
static_assert(sizeof(Config) <= sizeof(ncclConfig_t));
constexpr ncclConfig_t kTheirs = NCCL_CONFIG_INITIALIZER;
static_assert(Config{}.magic == kTheirs.magic && Config{}.blocking == kTheirs.blocking);

static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId) && alignof(UniqueId) == alignof(ncclUniqueId));
static_assert(sizeof(Result) == sizeof(ncclResult_t) && sizeof(DataType) == sizeof(ncclDataType_t) &&
              sizeof(Operation) == sizeof(ncclRedOp_t));

#define SHARDORA_SAME_VALUE(ours, theirs) static_assert(static_cast<int>(ours) == static_cast<int>(theirs))
SHARDORA_SAME_VALUE(Result::kSuccess, ncclSuccess);
SHARDORA_SAME_VALUE(Result::kUnhandledCudaError, ncclUnhandledCudaError);
SHARDORA_SAME_VALUE(Result::kSystemError, ncclSystemError);
SHARDORA_SAME_VALUE(Result::kInternalError, ncclInternalError);
SHARDORA_SAME_VALUE(Result::kInvalidArgument, ncclInvalidArgument);
SHARDORA_SAME_VALUE(Result::kInvalidUsage, ncclInvalidUsage);
SHARDORA_SAME_VALUE(Result::kRemoteError, ncclRemoteError);
SHARDORA_SAME_VALUE(Result::kInProgress, ncclInProgress);
SHARDORA_SAME_VALUE(DataType::kInt8, ncclInt8);
SHARDORA_SAME_VALUE(DataType::kInt32, ncclInt32);
SHARDORA_SAME_VALUE(DataType::kInt64, ncclInt64);
SHARDORA_SAME_VALUE(DataType::kFloat32, ncclFloat32);
SHARDORA_SAME_VALUE(DataType::kFloat64, ncclFloat64);
SHARDORA_SAME_VALUE(DataType::kBfloat16, ncclBfloat16);
SHARDORA_SAME_VALUE(Operation::kSum, ncclSum);
SHARDORA_SAME_VALUE(Operation::kMax, ncclMax);
SHARDORA_SAME_VALUE(Operation::kMin, ncclMin);

// Each function takes as many arguments, of the same sizes, in the same order.
template <class>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
  template <class S, class... B>
  static constexpr bool like(S (*)(B...)) {
    if constexpr (sizeof...(A) != sizeof...(B)) {
      return false;
    } else {
      return sizeof(R) == sizeof(S) && ((sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>)&&...);
    }
  }
};
#define SHARDORA_SAME_FUNCTION(ours, theirs) static_assert(Signature<decltype(Library::ours)>::like(&theirs))
SHARDORA_SAME_FUNCTION(get_unique_id, ncclGetUniqueId);
SHARDORA_SAME_FUNCTION(init_rank, ncclCommInitRankConfig);
SHARDORA_SAME_FUNCTION(finalize, ncclCommFinalize);
SHARDORA_SAME_FUNCTION(destroy, ncclCommDestroy);
SHARDORA_SAME_FUNCTION(abort, ncclCommAbort);
SHARDORA_SAME_FUNCTION(async_error, ncclCommGetAsyncError);
SHARDORA_SAME_FUNCTION(error_string, ncclGetErrorString);
SHARDORA_SAME_FUNCTION(last_error, ncclGetLastError);
SHARDORA_SAME_FUNCTION(all_reduce, ncclAllReduce);
SHARDORA_SAME_FUNCTION(broadcast, ncclBroadcast);

}  // namespace shardora::nccl
