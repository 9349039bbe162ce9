// Rows moved from place to place on the CPU.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/loops/loop_shapes.h"

namespace shardora::cpu {
namespace {

struct RowMoves {
  std::int64_t count, row_bytes, from_rows, to_rows;
  const std::int32_t* rows;
  const std::byte* from;
  std::byte* to;
};

std::int64_t bytes_of_row(TensorView matrix) {
  std::int64_t bytes = size_bytes(matrix.dtype);
  for (int axis = 1; axis < matrix.shape.rank(); ++axis) bytes *= matrix.size(axis);
  return bytes;
}

RowMoves row_moves(const GatherScatter& op) {
  SHARDORA_CHECK(op.from.dtype == op.to.dtype && op.from.shape.rank() >= 1 && op.to.shape.rank() >= 1);
  SHARDORA_CHECK(bytes_of_row(op.from) == bytes_of_row(op.to));
  return {.count = op.rows.elements(),
          .row_bytes = bytes_of_row(op.to),
          .from_rows = op.from.size(0),
          .to_rows = op.to.size(0),
          .rows = op.rows.as<std::int32_t>(),
          .from = static_cast<const std::byte*>(op.from.data),
          .to = static_cast<std::byte*>(op.to.data)};
}

}  // namespace

void gather_rows(const GatherScatter& op) {
  const RowMoves move = row_moves(op);
  SHARDORA_CHECK(move.to_rows == move.count);
  for (std::int64_t i = 0; i < move.count; ++i) {
    SHARDORA_CHECK(move.rows[i] >= 0 && move.rows[i] < move.from_rows);
  }
  if (move.row_bytes == 0) return;
  for_each_row(move.count, move.row_bytes / 4, [=](std::int64_t i) {
    std::memcpy(move.to + i * move.row_bytes, move.from + move.rows[i] * move.row_bytes,
                static_cast<std::size_t>(move.row_bytes));
  });
}

void scatter_rows(const GatherScatter& op) {
  const RowMoves move = row_moves(op);
  SHARDORA_CHECK(move.from_rows == move.count);
  for (std::int64_t i = 0; i < move.count; ++i) {
    SHARDORA_CHECK(move.rows[i] >= 0 && move.rows[i] < move.to_rows);
    SHARDORA_CHECK(i == 0 || move.rows[i - 1] < move.rows[i]);
  }
  if (move.row_bytes == 0) return;
  // Step i writes the zeros between two moved rows and then row i; the last one only zeros.
  for_each_row(move.count + 1, move.row_bytes / 4, [=](std::int64_t i) {
    const std::int64_t gap_begin = i == 0 ? 0 : move.rows[i - 1] + 1;
    const std::int64_t gap_end = i == move.count ? move.to_rows : move.rows[i];
    std::fill(move.to + gap_begin * move.row_bytes, move.to + gap_end * move.row_bytes, std::byte{0});
    if (i == move.count) return;
    std::memcpy(move.to + gap_end * move.row_bytes, move.from + i * move.row_bytes,
                static_cast<std::size_t>(move.row_bytes));
  });
}

void write_rows(const GatherScatter& op) {
  const RowMoves move = row_moves(op);
  SHARDORA_CHECK(move.from_rows == move.count);
  for (std::int64_t i = 0; i < move.count; ++i) SHARDORA_CHECK(move.rows[i] >= 0 && move.rows[i] < move.to_rows);
  if (move.row_bytes == 0) return;
  for_each_row(move.count, move.row_bytes / 4, [=](std::int64_t i) {
    std::memcpy(move.to + move.rows[i] * move.row_bytes, move.from + i * move.row_bytes,
                static_cast<std::size_t>(move.row_bytes));
  });
}

}  // namespace shardora::cpu
