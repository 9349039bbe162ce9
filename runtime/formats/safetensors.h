// safetensors files (https://github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON header,
// tensor bytes. The door for every tensor from outside: the header is checked in full before any tensor is trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "runtime/system/input_file.h"

namespace shardora {

struct TensorEntry {
  std::string dtype;  // as in the file: "F32", "BF16", …
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes, from the start of the data section
};

// The file's name of a type: "F32". And back: nothing for types that this program does not compute with.
std::string safetensors_dtype(DType dtype);
std::optional<DType> dtype_from_safetensors(const std::string& dtype);
// Bytes of one element of any type of the format; 0 for an unknown one.
std::int64_t safetensors_element_bytes(const std::string& dtype);

// Reads one file. Keeps a descriptor, not the bytes. All errors: Error(kBadInput) naming the file and the fault,
// Error(kIo) where the system fails.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path, Links links = Links::kWithinFolder);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const;
  const std::map<std::string, TensorEntry>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  bool has(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;  // throws kBadInput where it is missing
  // A dtype that this program computes with. Throws kBadInput for others.
  DType dtype(const std::string& name) const;

  // Rows [first, first + count) of axis 0, raw bytes, by pread.
  void read_rows(const std::string& name, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;
  void read(const std::string& name, std::span<std::byte> out) const;  // all of it
  // These rows' columns [first, first + count) of a 2-d tensor, only their bytes (or whole rows where that is faster),
  // packed.
  void read_columns(const std::string& name, std::int64_t first_row, std::int64_t rows, std::int64_t first,
                    std::int64_t count, std::span<std::byte> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether two tensors have one shape and, in the `part`-th of `parts` stretches of rows, the same values, whatever
// their types. Throws as reading does.
struct StoredTensor {
  const SafetensorsFile& file;
  std::string name;
};
bool same_values(const StoredTensor& a, const StoredTensor& b, int part = 0, int parts = 1);

// Checks a header's bytes alone: the parser behind SafetensorsFile, for fuzzing and tests. `data_bytes` is what follows
// the header in the file. Throws Error(kBadInput) with `name` as the file.
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};
SafetensorsHeader parse_safetensors_header(std::span<const char> json, std::int64_t data_bytes,
                                           const std::string& name);

// Writes one file: declare every tensor first, then give their bytes in the same order, piece by piece, so that memory
// stays at one piece. Created with O_EXCL; fsync'ed by finish(); an unfinished file is removed.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
  };
  // Tensors are laid out in the order given. Metadata goes under "__metadata__".
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<Declaration>& tensors,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  void write(std::span<const std::byte> bytes);  // the next bytes of the data section
  void finish();                                 // throws where bytes are missing or the disk is full

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A tensor on the host that owns its bytes.
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
  TensorView view();  // at most four dimensions
  std::span<float> f32();
};
using TensorMap = std::map<std::string, HostTensor>;

// Whole small files (adapters, optimizer state). Written as the reference does: wide types first, then by name, which
// keeps every tensor aligned.
TensorMap read_safetensors(const std::filesystem::path& path);
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace shardora
