// A file that is written: created anew, kept only when finished.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace shardora {

class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // O_EXCL; Error(kOutputBusy | kIo)
  ~OutputFile();                                           // removes the file unless finish() has succeeded
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void finish();  // fsync, close

 private:
  void start_writing_back();

  std::filesystem::path path_;
  std::int64_t written_ = 0, started_ = 0;  // bytes given to the system, and on their way to the disk
  int descriptor_ = -1;
  bool finished_ = false;
};

// Throws for a failed system call on something that is written: kOutputBusy where it exists or may not be written,
// else kIo; a full disk is reported with its free bytes.
[[noreturn]] void refuse_output(std::string_view what, const std::filesystem::path& path, int error);

// fsync of an open file or folder; throws as above. Not every file system knows it (EINVAL, ENOTSUP): that is no
// failure, and can_sync() in files.h tells.
void sync_descriptor(int descriptor, std::string_view what, const std::filesystem::path& path);

}  // namespace shardora
