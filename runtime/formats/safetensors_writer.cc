// Writing safetensors: the header is known at the start, the bytes follow piece by piece.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/formats/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/system/output_file.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

std::int64_t bytes_of(const SafetensorsWriter::Declaration& tensor) {
  std::int64_t bytes = safetensors_element_bytes(tensor.dtype);
  SHARDORA_CHECK(bytes > 0);
  for (const std::int64_t size : tensor.shape) {
    SHARDORA_CHECK(size >= 0 && (size == 0 || bytes <= std::numeric_limits<std::int64_t>::max() / size));
    bytes *= size;
  }
  return bytes;
}

std::string header_text(const std::vector<SafetensorsWriter::Declaration>& tensors,
                        const std::map<std::string, std::string>& metadata, std::int64_t& data_bytes) {
  ordered_json header = ordered_json::object();
  auto& members = header.get_ref<ordered_json::object_t&>();
  if (!metadata.empty()) members.emplace_back("__metadata__", metadata);
  data_bytes = 0;
  for (const SafetensorsWriter::Declaration& tensor : tensors) {
    const std::int64_t end = data_bytes + bytes_of(tensor);
    members.emplace_back(
        tensor.name,
        ordered_json{{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {data_bytes, end}}});
    data_bytes = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // aligns the data, as the reference does
  return text;
}

}  // namespace

struct SafetensorsWriter::Impl {
  OutputFile file;
  std::int64_t missing;  // bytes of the data section still to come
  Impl(const std::filesystem::path& path, std::int64_t data_bytes) : file(path), missing(data_bytes) {}
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<Declaration>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::int64_t data_bytes = 0;
  const std::string header = header_text(tensors, metadata, data_bytes);
  parse_safetensors_header(header, data_bytes, path.string());  // what is written passes our own door
  impl_ = std::make_unique<Impl>(path, data_bytes);
  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i) & 0xFF);
  impl_->file.write(length);
  impl_->file.write(header);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  SHARDORA_CHECK(std::ssize(bytes) <= impl_->missing);
  impl_->file.write(bytes);
  impl_->missing -= std::ssize(bytes);
}

void SafetensorsWriter::finish() {
  SHARDORA_CHECK(impl_->missing == 0);
  impl_->file.finish();
}

}  // namespace shardora
