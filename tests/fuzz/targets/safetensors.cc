// Any safetensors file: the header, then every way to its bytes that the entries allow.
#include "runtime/formats/safetensors.h"

#include <algorithm>

#include "runtime/formats/float_convert.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

std::vector<std::byte> read_whole(const SafetensorsFile& file, const std::string& name, const TensorEntry& entry) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(entry.end - entry.begin));
  file.read(name, bytes);
  return bytes;
}

// The last row and the last column, read by themselves, are those of the whole.
void require_parts_agree(const SafetensorsFile& file, const std::string& name, const TensorEntry& entry) {
  const std::vector<std::byte> whole = read_whole(file, name, entry);
  if (entry.shape.empty() || whole.empty()) return;
  const std::size_t row_bytes = whole.size() / static_cast<std::size_t>(entry.shape[0]);
  std::vector<std::byte> row(row_bytes);
  file.read_rows(name, entry.shape[0] - 1, 1, row);
  require(std::equal(row.begin(), row.end(), whole.end() - static_cast<std::ptrdiff_t>(row_bytes)), "another last row");
  if (entry.shape.size() != 2) return;
  const auto element = static_cast<std::size_t>(safetensors_element_bytes(entry.dtype));
  std::vector<std::byte> column(element * static_cast<std::size_t>(entry.shape[0]));
  file.read_columns(name, 0, entry.shape[0], entry.shape[1] - 1, 1, column);
  for (std::size_t i = 0; i < static_cast<std::size_t>(entry.shape[0]); ++i) {
    const auto* expected = whole.data() + (i + 1) * row_bytes - element;
    require(std::equal(expected, expected + element, column.data() + i * element), "another last column");
  }
}

}  // namespace

void safetensors(std::string_view input) {
  const Scratch scratch;
  const std::filesystem::path path = scratch.put("model.safetensors", safetensors_bytes(input));
  accepted([&] {
    const SafetensorsFile file(path);
    for (const auto& [name, entry] : file.tensors()) {
      require_parts_agree(file, name, entry);
      std::vector<std::byte> converted;
      convert_to_f32(entry.dtype, read_whole(file, name, entry), converted);
    }
  });
  accepted([&] { read_safetensors(path); });
}

}  // namespace shardora::fuzz
