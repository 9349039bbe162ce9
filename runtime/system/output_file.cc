// Writing files: every byte is asked for, every failure is reported, nothing unfinished stays.
#include "runtime/system/output_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "kernels/check.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::string free_bytes(const fs::path& path) {
  struct statvfs status {};
  const fs::path folder = fs::absolute(path).parent_path();
  if (::statvfs(folder.c_str(), &status) != 0) return "";
  return fmt::format("; {} bytes are free there, make room", std::uint64_t{status.f_bavail} * status.f_frsize);
}

}  // namespace

void refuse_output(std::string_view what, const fs::path& path, int error) {
  const bool busy =
      error == EEXIST || error == ENOTEMPTY || error == EACCES || error == EPERM || error == EROFS || error == ENOTDIR;
  const bool full = error == ENOSPC || error == EDQUOT;
  refuse(busy ? ExitStatus::kOutputBusy : ExitStatus::kIo, "{}: {} failed ({}){}", printable(path.string()), what,
         std::generic_category().message(error), full ? free_bytes(path) : "");
}

void sync_descriptor(int descriptor, std::string_view what, const fs::path& path) {
  if (::fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP) refuse_output(what, path, errno);
}

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) refuse_output("creating it", path_, errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!finished_) ::unlink(path_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  SHARDORA_CHECK(descriptor_ >= 0);
  constexpr std::size_t kAtMost = std::size_t{1} << 30;  // Linux writes at most 2 GiB a call
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kAtMost));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_output("writing it", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    written_ += count;
  }
  start_writing_back();
}

// So that the disk works while the next bytes are made, and finish() has little left to wait for. A hint: what fails
// here fails in fsync as well.
void OutputFile::start_writing_back() {
  constexpr std::int64_t kPiece = std::int64_t{16} << 20;
  if (written_ - started_ < kPiece) return;
  ::sync_file_range(descriptor_, started_, written_ - started_, SYNC_FILE_RANGE_WRITE);
  started_ = written_;
}

void OutputFile::finish() {
  SHARDORA_CHECK(descriptor_ >= 0);
  sync_descriptor(descriptor_, "syncing it", path_);
  // Network file systems report a full disk as late as here.
  if (::close(std::exchange(descriptor_, -1)) != 0) refuse_output("closing it", path_, errno);
  finished_ = true;
}

}  // namespace shardora
