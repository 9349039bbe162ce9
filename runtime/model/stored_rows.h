// A stored tensor read a block of rows at a time, so that memory stays at one block however large the tensor is.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "runtime/formats/model_weights.h"

namespace shardora {

class StoredRows {
 public:
  // A matrix's rows, or a vector's elements as rows of one column: float32, bfloat16 or float16. All is on the host;
  // `file` must outlive it.
  StoredRows(Backend& backend, const SafetensorsFile& file, const NamedShape& tensor);
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t block_rows() const { return block_rows_; }  // of every block but the last

  // Rows from `first` on, in fp32: [count, columns]. Good until the next call.
  TensorView read(std::int64_t first);
  // The same as they are stored.
  std::span<const std::byte> read_bytes(std::int64_t first);

 private:
  Backend& backend_;
  const SafetensorsFile& file_;
  std::string name_;
  DType dtype_;
  std::int64_t rows_, columns_, block_rows_;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
};

}  // namespace shardora
