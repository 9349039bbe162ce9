// Files that must arrive whole: fsync, rename, folders, checksums. Errors are Error(kIo) or Error(kOutputBusy) naming
// the path, the system's reason and, where the disk is full, the free bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "kernels/check.h"
#include "runtime/io/input_file.h"

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
void sync_folder(const std::filesystem::path& path);  // EINVAL and ENOTSUP are ignored
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
void remove_tree(const std::filesystem::path& path);
void copy_file_synced(const std::filesystem::path& from, const std::filesystem::path& to);

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0);  // XXH3, 64 bits
std::uint64_t file_checksum(const std::filesystem::path& path);
std::string hex(std::uint64_t value);  // 16 digits

}  // namespace shardora
