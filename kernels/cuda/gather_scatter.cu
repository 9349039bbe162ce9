#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.h"

namespace shardora::cuda {
namespace {

// A row is moved in units of 16 bytes, 4 or 1, as its length and its place allow.
using Unit16 = AlignedVector<float>;

template <class Unit>
__global__ void gather_rows_kernel(const Unit* from, const std::int32_t* rows, Unit* to, RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  to[place.row * work.items + place.item] = from[rows[place.row] * work.items + place.item];
}

template <class Unit>
__global__ void write_rows_kernel(const Unit* from, const std::int32_t* rows, Unit* to, RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  to[rows[place.row] * work.items + place.item] = from[place.row * work.items + place.item];
}

// A row of `to` looks itself up among `rows`, which ascend.
template <class Unit>
__global__ void scatter_rows_kernel(const Unit* from, const std::int32_t* rows, std::int64_t count, Unit* to,
                                    RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  std::int64_t low = 0, high = count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (rows[middle] < place.row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const bool named = low < count && rows[low] == place.row;
  to[place.row * work.items + place.item] = named ? from[low * work.items + place.item] : Unit{};
}

std::int64_t bytes_of_row(TensorView matrix) {
  std::int64_t bytes = size_bytes(matrix.dtype);
  for (int axis = 1; axis < matrix.shape.rank(); ++axis) bytes *= matrix.size(axis);
  return bytes;
}

// function(Unit{}, units of a row).
template <class Function>
void with_unit(const GatherScatter& op, const Function& function) {
  SHARDORA_CHECK(op.from.dtype == op.to.dtype && op.from.shape.rank() >= 1 && op.to.shape.rank() >= 1);
  const std::int64_t bytes = bytes_of_row(op.to);
  SHARDORA_CHECK(bytes_of_row(op.from) == bytes);
  const auto places = reinterpret_cast<std::uintptr_t>(op.from.data) | reinterpret_cast<std::uintptr_t>(op.to.data);
  if (bytes % 16 == 0 && places % 16 == 0) return function(Unit16{}, bytes / 16);
  if (bytes % 4 == 0 && places % 4 == 0) return function(std::uint32_t{}, bytes / 4);
  function(std::uint8_t{}, bytes);
}

// One row after another of `each`, `from` or `to`, has a row number: kernel(from, rows, to, work).
template <class KernelOf>
void move_each_row(Backend& backend, const GatherScatter& op, TensorView each, const KernelOf& kernel_of) {
  SHARDORA_CHECK(each.size(0) == op.rows.elements());
  with_unit(op, [&](auto unit, std::int64_t units) {
    using Unit = decltype(unit);
    over_rows(each.size(0), units, [&](dim3 grid, dim3 block, const RowWork& work) {
      launch(kernel_of(unit), grid, block, 0, stream_of(backend), static_cast<const Unit*>(op.from.data),
             op.rows.as<std::int32_t>(), static_cast<Unit*>(op.to.data), work);
    });
  });
}

}  // namespace

void gather_rows(Backend& backend, const GatherScatter& op) {
  move_each_row(backend, op, op.to, [](auto unit) { return gather_rows_kernel<decltype(unit)>; });
}

void write_rows(Backend& backend, const GatherScatter& op) {
  move_each_row(backend, op, op.from, [](auto unit) { return write_rows_kernel<decltype(unit)>; });
}

void scatter_rows(Backend& backend, const GatherScatter& op) {
  SHARDORA_CHECK(op.from.size(0) == op.rows.elements());
  with_unit(op, [&](auto unit, std::int64_t units) {
    using Unit = decltype(unit);
    over_rows(op.to.size(0), units, [&](dim3 grid, dim3 block, const RowWork& work) {
      launch(scatter_rows_kernel<Unit>, grid, block, 0, stream_of(backend), static_cast<const Unit*>(op.from.data),
             op.rows.as<std::int32_t>(), op.rows.elements(), static_cast<Unit*>(op.to.data), work);
    });
  });
}

}  // namespace shardora::cuda
