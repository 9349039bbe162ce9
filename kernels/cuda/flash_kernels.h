// The kernels of flash_attention.h: fp32 by plain arithmetic, bfloat16 by tensor cores (mma.h).
#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/flash_tiles.h"

namespace shardora::cuda {

template <class T>
struct ForwardTensors {
  const T *q, *k, *v;
  T* o;
  float* lse;
  std::int64_t queries;  // tokens
};
void flash_forward(Backend& backend, const FlashShape& shape, const ForwardTensors<float>& tensors);
void flash_forward(Backend& backend, const FlashShape& shape, const ForwardTensors<BF16>& tensors);

// Two passes over the pairs of queries and keys, each with one writer for every output: dq by tiles of queries, dk and
// dv by tiles of keys. Both are one kernel: with rows i (what a block owns) and columns j,
//
//   s_ij = a_i . b_j,  dp_ij = da_i . db_j          rows queries: a = q, da = do, b = k, db = v
//   out1_i = sum_j ds_ij b_j  (dq, or dk)           rows keys:    a = k, da = v,  b = q, db = do
//   out2_i = sum_j p_ij db_j  (dv; rows keys only)
template <class T>
struct BackwardTensors {
  const T *q, *k, *v, *d_o;
  const float *lse, *delta;  // [query_tokens, heads]
  T *dq, *dk, *dv;
  std::int64_t queries, keys;  // tokens
};
void flash_backward(Backend& backend, const FlashShape& shape, const BackwardTensors<float>& tensors);
void flash_backward(Backend& backend, const FlashShape& shape, const BackwardTensors<BF16>& tensors);

// One block's operands, by rows and columns.
template <bool kOfKeys, class T>
struct BackwardOperands {
  const FlashShape& shape;
  const BackwardTensors<T>& tensors;
  const Work& work;
  int group = shape.heads / shape.kv_heads;  // query heads on one key head
  int kv_head = kOfKeys ? work.head : work.head / group;

  __device__ int turns() const { return kOfKeys ? group : 1; }  // over the columns: one for each query head
  __device__ int head(int turn) const { return kOfKeys ? kv_head * group + turn : work.head; }
  __device__ HeadRows<const T> a() const { return kOfKeys ? of_keys(tensors.k) : of_queries(tensors.q, work.head); }
  __device__ HeadRows<const T> da() const { return kOfKeys ? of_keys(tensors.v) : of_queries(tensors.d_o, work.head); }
  __device__ HeadRows<const T> b(int turn) const {
    return kOfKeys ? of_queries(tensors.q, head(turn)) : of_keys(tensors.k);
  }
  __device__ HeadRows<const T> db(int turn) const {
    return kOfKeys ? of_queries(tensors.d_o, head(turn)) : of_keys(tensors.v);
  }
  __device__ HeadRows<T> out1() const { return kOfKeys ? of_keys(tensors.dk) : of_queries(tensors.dq, work.head); }
  __device__ HeadRows<T> out2() const { return of_keys(tensors.dv); }

 private:
  template <class U>
  __device__ HeadRows<U> of_queries(U* tensor, int query_head) const {
    return head_rows(tensor, work.sequence.queries, shape.heads, query_head, shape.dim);
  }
  template <class U>
  __device__ HeadRows<U> of_keys(U* tensor) const {
    return head_rows(tensor, work.sequence.keys, shape.kv_heads, kv_head, shape.dim);
  }
};

}  // namespace shardora::cuda
