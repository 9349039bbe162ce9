// A file that is read: opened once, regular, its size known, read by position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace shardora {

// kWithinFolder is for files found by name in somebody's folder: a link may lead to another place of that folder, or,
// from a snapshot of a Hugging Face cache, into the `blobs` of the same repository; nowhere else. kFollow is for files
// that the user named.
enum class Links : std::uint8_t { kWithinFolder, kFollow };

class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path, Links links = Links::kWithinFolder);  // Error(kBadInput | kIo)
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::int64_t size() const { return size_; }
  void read_at(std::int64_t offset, std::span<std::byte> out) const;  // all of it, or Error
  void require_same_size() const;  // throws where the file has grown or shrunk since it was opened

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

}  // namespace shardora
