// Whole files and folders: read, replace, rename, remove, copy, checksum.
#include "runtime/system/files.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "runtime/system/input_file.h"
#include "runtime/system/output_file.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlockBytes = 1 << 22;

// Calls use(bytes) for one block after the other.
template <class Use>
void for_each_block(const InputFile& file, Use use) {
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(file.size(), kBlockBytes)));
  for (std::int64_t offset = 0; offset < file.size(); offset += kBlockBytes) {
    const auto piece = std::span(block).first(static_cast<std::size_t>(std::min(kBlockBytes, file.size() - offset)));
    file.read_at(offset, piece);
    use(piece);
  }
}

std::uint64_t random_number(const fs::path& path) {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value) refuse_output("choosing a temporary name", path, errno);
  return value;
}

int open_folder(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) refuse_output("opening the folder", path, errno);
  return descriptor;
}

// Closes it, whatever comes of syncing it.
void sync_and_close(int descriptor, std::string_view what, const fs::path& path) {
  try {
    sync_descriptor(descriptor, what, path);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
}

template <class Iterator>
std::vector<fs::directory_entry> entries(const fs::path& folder) {
  try {
    return {Iterator(folder), Iterator()};
  } catch (const fs::filesystem_error& failure) {
    refuse(ExitStatus::kIo, "reading the folder {}: {}", printable(folder.string()), failure.code().message());
  }
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

std::string read_text(const fs::path& path, std::int64_t limit_bytes, Links links) {
  const InputFile file(path, links);
  if (file.size() > limit_bytes) {
    refuse(ExitStatus::kBadInput, "{}: has {} bytes, at most {} are expected", printable(path.string()), file.size(),
           limit_bytes);
  }
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  file.require_same_size();
  return text;
}

void write_new_file(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.finish();
}

void require_place(std::string_view key, const fs::path& path) {
  const fs::path folder = fs::absolute(path).parent_path();
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  // The effective user's rights, as open() will use them.
  if (!is_folder && faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return;
  const bool forbidden = !is_folder && (errno == EACCES || errno == EROFS);
  refuse(forbidden ? ExitStatus::kOutputBusy : ExitStatus::kIo,
         "{} = {}: {}; expected a file in a folder that may be written", key, printable(path.string()),
         is_folder ? "is a folder" : printable(folder.string()) + ": " + std::strerror(errno));
}

void replace_file(const fs::path& path, std::string_view text) {
  const fs::path temporary = path.string() + ".tmp-" + hex(random_number(path));
  write_new_file(temporary, text);
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    refuse_output("replacing it", path, error);
  }
  sync_folder(folder_of(path));
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) refuse_output("making the folder", path, error.value());
  if (!fs::is_directory(path, error)) refuse_output("making the folder", path, ENOTDIR);
}

void make_folder_in(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  if (::mkdir(path.c_str(), 0777) != 0) refuse_output("making the folder", path, errno);
}

bool is_there(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::none) refuse_output("looking at it", path, error.value());
  return fs::exists(status);
}

bool can_sync(const fs::path& folder) {
  const int descriptor = open_folder(folder);
  const bool unknown = ::fsync(descriptor) != 0 && (errno == EINVAL || errno == ENOTSUP);
  ::close(descriptor);
  return !unknown;
}

void sync_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) refuse_output("opening it to sync", path, errno);
  sync_and_close(descriptor, "syncing it", path);
}

void sync_folder(const fs::path& path) { sync_and_close(open_folder(path), "syncing the folder", path); }

std::vector<fs::directory_entry> entries_in(const fs::path& folder) { return entries<fs::directory_iterator>(folder); }

std::vector<fs::directory_entry> entries_below(const fs::path& folder) {
  return entries<fs::recursive_directory_iterator>(folder);
}

void rename_path(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    refuse_output(fmt::format("renaming it to {}", printable(to.string())), from, errno);
  }
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) refuse_output("removing it", path, error.value());
}

void copy_file_synced(const fs::path& from, const fs::path& to) {
  const InputFile input(from);
  OutputFile output(to);
  for_each_block(input, [&](std::span<const std::byte> block) { output.write(block); });
  input.require_same_size();
  output.finish();
}

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t file_checksum(const fs::path& path) {
  const InputFile file(path, Links::kFollow);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  SHARDORA_CHECK(state != nullptr && XXH3_64bits_reset(state.get()) == XXH_OK);
  for_each_block(file, [&](std::span<const std::byte> block) {
    SHARDORA_CHECK(XXH3_64bits_update(state.get(), block.data(), block.size()) == XXH_OK);
  });
  return XXH3_64bits_digest(state.get());
}

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace shardora
