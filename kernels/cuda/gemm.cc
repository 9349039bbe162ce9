// The products by cuBLASLt. A row-major matrix is its own transpose read column by column, as cuBLASLt reads:
//
//   c[m,n] = op(a) op(b)   is for cuBLASLt   c^T[n,m] = op(b)^T op(a)^T,   so b goes first and sizes change places.
//
// The same call gives the same bits each time, on devices of one kind with one version of the library: the algorithm is
// chosen by rules (heuristics), never by timing; one stream owns the workspace; and of the ways to split k those are
// taken only whose parts are summed in fp32 in the workspace, in order, in a step of their own. (The others add in the
// result's type, that is in bfloat16, which would cost accuracy as well.)
//
// No epilogue adds a bias: bias and gain belong to the passes that read the result anyway (kernels/gain.h).
#include "kernels/cuda/gemm.h"

#include <cublasLt.h>

#include <compare>
#include <map>

#include "kernels/check.h"

namespace shardora {

// SHARDORA_CHECK of cuBLASLt. The user can do something about device memory; anything else is reported as it came.
static void require_ok(cublasStatus_t status, const char* expression,
                       std::source_location at = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  if (status == CUBLAS_STATUS_ALLOC_FAILED) {
    refuse(ExitStatus::kOutOfMemory,
           "out of device memory in {}: lower train.micro_batch_tokens, or raise parallel.tensor", expression);
  }
  fail(fmt::format("cuBLASLt: {} ({})", cublasLtGetStatusString(status), cublasLtGetStatusName(status)), expression,
       at);
}

namespace cuda {
namespace {

// The kernels load 16 bytes at most at a time. To tell addresses apart any further would only make the algorithm, and
// with it the rounding, depend on where in memory a tensor lies.
std::uint32_t alignment_of(const void* address) {
  constexpr std::uintptr_t kWidestLoad = 16;
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | kWidestLoad;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

// All that the choice of an algorithm may depend on.
struct Key {
  std::int64_t m, n, k;
  DType operands, result;
  bool transpose_a, transpose_b, accumulate;
  std::uint32_t align_a, align_b, align_c;

  auto operator<=>(const Key&) const = default;
};

Key key_of(const GemmCall& call) {
  return {.m = call.m,
          .n = call.n,
          .k = call.k,
          .operands = call.operands,
          .result = call.result,
          .transpose_a = call.transpose_a,
          .transpose_b = call.transpose_b,
          .accumulate = call.accumulate,
          .align_a = alignment_of(call.a),
          .align_b = alignment_of(call.b),
          .align_c = alignment_of(call.c)};
}

cudaDataType_t type_of(DType dtype) {
  SHARDORA_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  return dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

std::string to_string(const Key& key) {
  return fmt::format("[{},{}]{} x [{},{}]{} of {}, result {}{}, aligned to {}, {} and {} bytes",
                     key.transpose_a ? key.k : key.m, key.transpose_a ? key.m : key.k, key.transpose_a ? "^T" : "",
                     key.transpose_b ? key.n : key.k, key.transpose_b ? key.k : key.n, key.transpose_b ? "^T" : "",
                     key.operands == DType::kF32 ? "fp32" : "bfloat16", key.result == DType::kF32 ? "fp32" : "bfloat16",
                     key.accumulate ? " (+=)" : "", key.align_a, key.align_b, key.align_c);
}

// The library's descriptors, in memory of ours.
template <class Value>
void set(cublasLtMatmulDescOpaque_t& product, cublasLtMatmulDescAttributes_t attribute, Value value) {
  SHARDORA_CHECK(cublasLtMatmulDescSetAttribute(&product, attribute, &value, sizeof value));
}
template <class Value>
void set(cublasLtMatmulPreferenceOpaque_t& preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  SHARDORA_CHECK(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value));
}
// Of a row-major matrix: columns of cuBLASLt are our rows.
void describe(cublasLtMatrixLayoutOpaque_t& layout, DType dtype, std::int64_t rows, std::int64_t columns) {
  SHARDORA_CHECK(cublasLtMatrixLayoutInit(&layout, type_of(dtype), static_cast<std::uint64_t>(columns),
                                          static_cast<std::uint64_t>(rows), columns));
}

// What cublasLtMatmul takes beside pointers and factors. Stays where it was made: the library may keep addresses.
class Prepared {
 public:
  Prepared(cublasLtHandle_t handle, const Key& key, std::size_t workspace_bytes) {
    // fp32 sums and, of fp32 operands, fp32 products: CUBLAS_COMPUTE_32F never takes TF32.
    SHARDORA_CHECK(cublasLtMatmulDescInit(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(product, CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(product, CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    describe(a, key.operands, key.transpose_a ? key.k : key.m, key.transpose_a ? key.m : key.k);
    describe(b, key.operands, key.transpose_b ? key.n : key.k, key.transpose_b ? key.k : key.n);
    describe(c, key.result, key.m, key.n);
    choose_algorithm(handle, key, workspace_bytes);
  }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;

 private:
  void choose_algorithm(cublasLtHandle_t handle, const Key& key, std::size_t workspace_bytes) {
    cublasLtMatmulPreferenceOpaque_t preference;
    SHARDORA_CHECK(cublasLtMatmulPreferenceInit(&preference));
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, &product, &b, &a, &c, &c, &preference, 1, &best, &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0)) {
      refuse(ExitStatus::kInternal, "cuBLASLt knows no way to multiply {}", to_string(key));
    }
    SHARDORA_CHECK(status);
    SHARDORA_CHECK(best.state);
    algorithm = best.algo;
  }
};

class CublasLtGemm final : public Gemm {
 public:
  CublasLtGemm(cudaStream_t stream, Workspace workspace) : stream_(stream), workspace_(workspace) {
    SHARDORA_CHECK(cublasLtCreate(&handle_));
  }
  ~CublasLtGemm() override { cublasLtDestroy(handle_); }
  CublasLtGemm(const CublasLtGemm&) = delete;
  CublasLtGemm& operator=(const CublasLtGemm&) = delete;

  void run(const GemmCall& call) override {
    SHARDORA_CHECK(call.m >= 1 && call.n >= 1 && call.k >= 1);
    SHARDORA_CHECK(call.result == DType::kF32 || call.result == call.operands);
    Prepared& ready = prepared_for(key_of(call));
    const float beta = call.accumulate ? 1.0F : 0.0F;
    SHARDORA_CHECK(cublasLtMatmul(handle_, &ready.product, &call.scale, call.b, &ready.b, call.a, &ready.a, &beta,
                                  call.c, &ready.c, call.c, &ready.c, &ready.algorithm, workspace_.data,
                                  workspace_.bytes, stream_));
  }
  std::string description() const override {
    return fmt::format("cuBLASLt {}.{}", cublaslt_version() / 10000, cublaslt_version() % 10000 / 100);
  }

 private:
  // Made at a shape's first call; a later one allocates nothing. A run has few shapes, so none is ever dropped.
  Prepared& prepared_for(const Key& key) {
    return prepared_.try_emplace(key, handle_, key, workspace_.bytes).first->second;
  }

  cudaStream_t stream_;
  Workspace workspace_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, Prepared> prepared_;
};

}  // namespace

std::size_t cublaslt_version() { return cublasLtGetVersion(); }

std::unique_ptr<Gemm> make_gemm(cudaStream_t stream, Workspace workspace) {
  return std::make_unique<CublasLtGemm>(stream, workspace);
}

}  // namespace cuda
}  // namespace shardora
