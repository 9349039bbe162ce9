// Opening and reading files from outside: regular files only, links only where they are expected.
#include "runtime/system/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "kernels/check.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

bool lies_within(const fs::path& file, const fs::path& folder) {
  const auto [at_file, at_folder] = std::mismatch(file.begin(), file.end(), folder.begin(), folder.end());
  return at_folder == folder.end() && at_file != file.end();
}

// <repository>/snapshots/<revision>/… links into <repository>/blobs.
bool lies_in_blobs(const fs::path& file, const fs::path& folder) {
  for (fs::path place = folder; place.has_relative_path(); place = place.parent_path()) {
    if (place.filename() == "snapshots") return lies_within(file, place.parent_path() / "blobs");
  }
  return false;
}

[[noreturn]] void refuse_open(const fs::path& path, int error) {
  const bool wrong_path = error == ENOENT || error == ENOTDIR || error == EACCES || error == ELOOP ||
                          error == ENAMETOOLONG || error == EISDIR || error == ENXIO;
  refuse(wrong_path ? ExitStatus::kBadInput : ExitStatus::kIo, "{}: cannot be opened ({}); check the path",
         printable(path.string()), reason(error));
}

fs::path resolve(const fs::path& path, Links links) {
  std::error_code error;
  fs::path real = fs::canonical(path, error);
  if (error) refuse_open(path, error.value());
  if (links == Links::kFollow) return real;
  const fs::path folder = fs::canonical(fs::absolute(path).parent_path(), error);
  if (error) refuse_open(path, error.value());
  if (!lies_within(real, folder) && !lies_in_blobs(real, folder)) {
    refuse(ExitStatus::kBadInput,
           "{}: is a link to {}, outside its folder and its cache's blobs; replace it by the file itself",
           printable(path.string()), printable(real.string()));
  }
  return real;
}

}  // namespace

InputFile::InputFile(const fs::path& path, Links links) : path_(path) {
  const fs::path real = resolve(path, links);
  // Without O_NONBLOCK a pipe in a model folder would make open() wait for ever.
  descriptor_ = ::open(real.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor_ < 0) refuse_open(path, errno);
  struct stat status {};
  const int failed = ::fstat(descriptor_, &status) != 0 ? errno : 0;
  if (failed == 0 && S_ISREG(status.st_mode)) {
    size_ = static_cast<std::int64_t>(status.st_size);
    return;
  }
  ::close(std::exchange(descriptor_, -1));
  if (failed != 0) refuse(ExitStatus::kIo, "{}: {}", printable(path.string()), reason(failed));
  refuse(ExitStatus::kBadInput, "{}: is not a regular file; a regular file is expected", printable(path.string()));
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

void InputFile::read_at(std::int64_t offset, std::span<std::byte> out) const {
  constexpr std::size_t kAtMost = std::size_t{1} << 30;  // Linux reads at most 2 GiB a call
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), std::min(out.size(), kAtMost), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      refuse(ExitStatus::kIo, "{}: reading at byte {} failed ({})", printable(path_.string()), offset, reason(errno));
    }
    if (count == 0) {
      refuse(ExitStatus::kBadInput, "{}: ends at byte {}, {} bytes early; it was cut while it was read",
             printable(path_.string()), offset, out.size());
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void InputFile::require_same_size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    refuse(ExitStatus::kIo, "{}: {}", printable(path_.string()), reason(errno));
  }
  if (status.st_size != size_) {
    refuse(ExitStatus::kBadInput, "{}: changed from {} to {} bytes while it was read; wait until it is complete",
           printable(path_.string()), size_, static_cast<std::int64_t>(status.st_size));
  }
}

}  // namespace shardora
