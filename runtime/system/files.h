// Files that must arrive whole: fsync, rename, folders, checksums. Errors are Error(kIo) or Error(kOutputBusy) naming
// the path, the system's reason and, where the disk is full, the free bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/check.h"
#include "runtime/system/input_file.h"

namespace shardora {

// Error(kBadInput) where it is missing, not a regular file or too long.
std::string read_text(const std::filesystem::path& path, std::int64_t limit_bytes = 100'000'000,
                      Links links = Links::kFollow);
// Created with O_EXCL, fsync'ed.
void write_new_file(const std::filesystem::path& path, std::string_view text);
// Before the work whose result replace_file() will write: an error that names the key, where the folder is missing
// (kIo), may not be written (kOutputBusy), or is in the file's place (kIo).
void require_place(std::string_view key, const std::filesystem::path& path);
// By a temporary file beside it, fsync, rename, fsync of the folder: readers see the old or the new, never half.
void replace_file(const std::filesystem::path& path, std::string_view text);
void make_folders(const std::filesystem::path& path);
// One level, in a folder that is there; nothing to do where it is there itself.
void make_folder_in(const std::filesystem::path& path);
bool is_there(const std::filesystem::path& path);  // a link by itself; Error(kIo) where that cannot be found out
// Whether the file system of this folder knows fsync, so that what was written outlives a crash of the host.
bool can_sync(const std::filesystem::path& folder);
void sync_file(const std::filesystem::path& path);  // these two: nothing is done where it is not known
void sync_folder(const std::filesystem::path& path);
// What is in a folder, or in it and all folders below.
std::vector<std::filesystem::directory_entry> entries_in(const std::filesystem::path& folder);
std::vector<std::filesystem::directory_entry> entries_below(const std::filesystem::path& folder);
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
void remove_tree(const std::filesystem::path& path);
void copy_file_synced(const std::filesystem::path& from, const std::filesystem::path& to);

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0);  // XXH3, 64 bits
std::uint64_t file_checksum(const std::filesystem::path& path);
std::string hex(std::uint64_t value);  // 16 digits

}  // namespace shardora
