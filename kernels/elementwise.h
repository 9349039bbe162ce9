// Small passes over activations.
#pragma once

#include "kernels/backend.h"

namespace shardora {

// y += x, element by element.
struct Add {
  TensorView x, y;
};
void add(Backend& backend, const Add& op);

// to = from in the type of `to`, rounded to nearest even. From fp32, bfloat16 or float16 to fp32 or bfloat16.
struct Convert {
  TensorView from, to;  // of one shape; must not overlap
};
void convert(Backend& backend, const Convert& op);

// dbias[j] += sum_t dy[t,j].
struct ColumnSum {
  TensorView dy;     // [tokens, width]
  TensorView dbias;  // [width]
};
void column_sum(Backend& backend, const ColumnSum& op);

// gather: to[i,:] = from[rows[i],:].   scatter: to[rows[i],:] = from[i,:], the other rows of `to` become 0; rows
// ascend.   write: to[rows[i],:] = from[i,:], the other rows of `to` stay; rows are distinct, in any order.
struct GatherScatter {
  TensorView from;
  TensorView rows;  // int32 [count]
  TensorView to;
};
void gather_rows(Backend& backend, const GatherScatter& op);
void scatter_rows(Backend& backend, const GatherScatter& op);
void write_rows(Backend& backend, const GatherScatter& op);

}  // namespace shardora
