// Reading safetensors: the header at opening, then the asked rows or columns by position.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "runtime/formats/float_convert.h"
#include "runtime/formats/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the reference's limit
constexpr std::int64_t kBlockBytes = 1 << 22;
// Bytes between two slices of a row from which on one call a row beats reading what lies between.
constexpr std::int64_t kWorthSkipping = 1 << 16;

// The header's length is checked against the file before memory is asked for.
std::int64_t header_length(const InputFile& file) {
  const std::string name = printable(file.path().string());
  if (file.size() < kLengthBytes) {
    refuse(ExitStatus::kBadInput, "{}: has {} bytes, too few for a safetensors file", name, file.size());
  }
  std::array<std::byte, kLengthBytes> bytes{};
  file.read_at(0, bytes);
  std::uint64_t length = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  const std::int64_t longest = std::min(kMaxHeaderBytes, file.size() - kLengthBytes);
  if (std::cmp_greater(length, longest)) {
    refuse(
        ExitStatus::kBadInput,
        "{}: not a safetensors file, or a damaged one: it says that its header has {} bytes, at most {} are possible; "
        "copy it again (text becomes a dataset file by shardora-prepare)",
        name, length, longest);
  }
  return static_cast<std::int64_t>(length);
}

}  // namespace

std::string safetensors_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kF64:
      return "F64";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
  }
  fail("unknown dtype", "safetensors_dtype", std::source_location::current());
}

std::optional<DType> dtype_from_safetensors(const std::string& dtype) {
  for (const DType known :
       {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8}) {
    if (safetensors_dtype(known) == dtype) return known;
  }
  return std::nullopt;
}

struct SafetensorsFile::Impl {
  InputFile file;
  std::int64_t data_begin;
  SafetensorsHeader header;

  Impl(const std::filesystem::path& path, Links links) : file(path, links) {
    const std::int64_t length = header_length(file);
    data_begin = kLengthBytes + length;
    std::vector<char> json(static_cast<std::size_t>(length));
    file.read_at(kLengthBytes, std::as_writable_bytes(std::span(json)));
    header = parse_safetensors_header(json, file.size() - data_begin, path.string());
    file.require_same_size();
  }
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, Links links)
    : impl_(std::make_unique<Impl>(path, links)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const { return impl_->file.path(); }
const std::map<std::string, TensorEntry>& SafetensorsFile::tensors() const { return impl_->header.tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return impl_->header.metadata; }
bool SafetensorsFile::has(const std::string& name) const { return tensors().contains(name); }

const TensorEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found == tensors().end()) {
    refuse(ExitStatus::kBadInput, "{}: has no tensor '{}'", printable(path().string()), printable(name));
  }
  return found->second;
}

DType SafetensorsFile::dtype(const std::string& name) const {
  const std::optional<DType> known = dtype_from_safetensors(entry(name).dtype);
  if (!known) {
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' has dtype {}, expected F32, BF16, F16, F64, I32, I64 or U8",
           printable(path().string()), printable(name), entry(name).dtype);
  }
  return *known;
}

void SafetensorsFile::read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                                std::span<std::byte> out) const {
  const TensorEntry& tensor = entry(name);
  SHARDORA_CHECK(!tensor.shape.empty() && first >= 0 && count >= 0 && count <= tensor.shape[0] &&
                 first <= tensor.shape[0] - count);
  const std::int64_t row_bytes = tensor.shape[0] == 0 ? 0 : (tensor.end - tensor.begin) / tensor.shape[0];
  SHARDORA_CHECK(std::ssize(out) == count * row_bytes);
  impl_->file.read_at(impl_->data_begin + tensor.begin + first * row_bytes, out);
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> out) const {
  const TensorEntry& tensor = entry(name);
  SHARDORA_CHECK(std::ssize(out) == tensor.end - tensor.begin);
  impl_->file.read_at(impl_->data_begin + tensor.begin, out);
}

void SafetensorsFile::read_columns(const std::string& name, std::int64_t first_row, std::int64_t rows,
                                   std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  const TensorEntry& tensor = entry(name);
  SHARDORA_CHECK(tensor.shape.size() == 2 && first >= 0 && count >= 0 && count <= tensor.shape[1] &&
                 first <= tensor.shape[1] - count && first_row >= 0 && rows >= 0 && rows <= tensor.shape[0] &&
                 first_row <= tensor.shape[0] - rows);
  if (rows == 0 || count == 0) return;
  const std::int64_t row_bytes = (tensor.end - tensor.begin) / tensor.shape[0];
  const std::int64_t element = row_bytes / tensor.shape[1], slice = count * element;
  SHARDORA_CHECK(std::ssize(out) == rows * slice);
  const std::int64_t start = impl_->data_begin + tensor.begin + first_row * row_bytes + first * element;
  const std::int64_t gap = row_bytes - slice;
  // A block is `many` rows from the first one's slice to the last one's: it never reads past the tensor.
  const std::int64_t many = gap >= kWorthSkipping || gap == 0 ? 1 : std::max<std::int64_t>(kBlockBytes / row_bytes, 1);
  std::vector<std::byte> block(many == 1 ? 0 : static_cast<std::size_t>((many - 1) * row_bytes + slice));
  for (std::int64_t row = 0; row < rows; row += many) {
    const auto target = out.subspan(static_cast<std::size_t>(row * slice));
    if (many == 1) {
      impl_->file.read_at(start + row * row_bytes, target.first(static_cast<std::size_t>(slice)));
      continue;
    }
    const std::int64_t here = std::min(many, rows - row);
    impl_->file.read_at(start + row * row_bytes,
                        std::span(block).first(static_cast<std::size_t>((here - 1) * row_bytes + slice)));
    for (std::int64_t i = 0; i < here; ++i) {
      std::memcpy(target.data() + i * slice, block.data() + i * row_bytes, static_cast<std::size_t>(slice));
    }
  }
}

bool same_values(const StoredTensor& a, const StoredTensor& b, int part, int parts) {
  const TensorEntry &left = a.file.entry(a.name), &right = b.file.entry(b.name);
  if (left.shape != right.shape) return false;
  const std::int64_t rows = left.shape.empty() ? 0 : left.shape[0];
  if (rows == 0) return true;
  const std::int64_t row_bytes = std::max((left.end - left.begin) / rows, (right.end - right.begin) / rows);
  const std::int64_t block = std::max<std::int64_t>(1, kBlockBytes / std::max<std::int64_t>(1, row_bytes));
  const auto read = [&](const StoredTensor& tensor, std::int64_t first, std::int64_t count) {
    const TensorEntry& entry = tensor.file.entry(tensor.name);
    std::vector<std::byte> bytes(static_cast<std::size_t>((entry.end - entry.begin) / rows * count)), values;
    tensor.file.read_rows(tensor.name, first, count, bytes);
    if (left.dtype == right.dtype || !convert_to_f32(entry.dtype, bytes, values)) return bytes;
    return values;
  };
  const std::int64_t end = rows * (part + 1) / parts;
  for (std::int64_t first = rows * part / parts; first < end; first += block) {
    const std::int64_t count = std::min(block, end - first);
    if (read(a, first, count) != read(b, first, count)) return false;
  }
  return true;
}

// Whole small safetensors files, in memory.

TensorView HostTensor::view() { return {bytes.data(), dtype, Shape(std::span<const std::int64_t>(shape))}; }

std::span<float> HostTensor::f32() {
  SHARDORA_CHECK(dtype == DType::kF32 && bytes.size() % sizeof(float) == 0);
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

TensorMap read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  TensorMap tensors;
  for (const auto& [name, entry] : file.tensors()) {
    HostTensor tensor{file.dtype(name), entry.shape,
                      std::vector<std::byte>(static_cast<std::size_t>(entry.end - entry.begin))};
    file.read(name, tensor.bytes);
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorMap::value_type*> ordered;
  ordered.reserve(tensors.size());
  for (const auto& item : tensors) ordered.push_back(&item);
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* left, const auto* right) {
    return size_bytes(left->second.dtype) > size_bytes(right->second.dtype);
  });
  std::vector<SafetensorsWriter::Declaration> declarations;
  declarations.reserve(ordered.size());
  for (const auto* item : ordered) {
    declarations.push_back({item->first, safetensors_dtype(item->second.dtype), item->second.shape});
  }
  SafetensorsWriter writer(path, declarations, metadata);
  for (const auto* item : ordered) writer.write(item->second.bytes);
  writer.finish();
}

}  // namespace shardora
