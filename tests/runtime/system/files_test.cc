// Files and folders: what arrives whole, what is refused, what a full disk leaves behind.
#include "runtime/system/files.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <csignal>

#include "runtime/system/output_file.h"
#include "tests/runtime/formats/io_testing.h"
#include "tests/support/expect_error.h"
#include "tests/support/failing_call.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// While it lives, this process cannot make a file longer than `bytes`: what a full disk looks like from inside.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(Files, AreReadAsTheyWereWritten) {
  const TemporaryFolder folder;
  const std::string text = std::string("one\0two\n", 8);
  write_new_file(folder / "a", text);
  EXPECT_EQ(read_text(folder / "a"), text);
  write_new_file(folder / "empty", "");
  EXPECT_EQ(read_text(folder / "empty"), "");
  expect_refused([&] { read_text(folder / "a", 7); }, ExitStatus::kBadInput, "has 8 bytes, at most 7");
}

TEST(Files, AnExistingFileIsNeverWrittenOver) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  expect_refused([&] { write_new_file(folder / "a", "new"); }, ExitStatus::kOutputBusy, "File exists");
  EXPECT_EQ(text_of(folder / "a"), "old");
  fs::create_symlink(folder / "elsewhere", folder / "dangling");
  expect_refused([&] { write_new_file(folder / "dangling", "new"); }, ExitStatus::kOutputBusy, "dangling");
  EXPECT_FALSE(fs::exists(folder / "elsewhere"));
}

TEST(Files, ReplacingLeavesTheNewContentAndNothingElse) {
  const TemporaryFolder folder;
  replace_file(folder / "a", "one");
  replace_file(folder / "a", "two");
  EXPECT_EQ(text_of(folder / "a"), "two");
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(Files, AFullDiskIsAnInputOutputErrorAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  {
    const FileSizeLimit limit(1000);
    expect_refused([&] { replace_file(folder / "a", std::string(5000, 'x')); }, ExitStatus::kIo, "writing it failed");
    expect_refused([&] { write_new_file(folder / "b", std::string(5000, 'x')); }, ExitStatus::kIo, "b: writing it");
  }
  EXPECT_EQ(text_of(folder / "a"), "old");
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(Files, AFullDiskIsReportedWithItsFreeBytes) {
  expect_refused([] { refuse_output("writing it", "/tmp/x", ENOSPC); }, ExitStatus::kIo, "bytes are free there");
  expect_refused([] { refuse_output("writing it", "/tmp/x", EDQUOT); }, ExitStatus::kIo, "bytes are free there");
  expect_refused([] { refuse_output("writing it", "/tmp/x", EIO); }, ExitStatus::kIo, "Input/output error");
  expect_refused([] { refuse_output("creating it", "/tmp/x", EROFS); }, ExitStatus::kOutputBusy, "Read-only");
  expect_refused([] { refuse_output("creating it", "/tmp/x", EACCES); }, ExitStatus::kOutputBusy, "/tmp/x");
}

TEST(Files, AResultsPlaceIsAFileInAFolderThatIsThere) {
  const TemporaryFolder folder;
  require_place("some.key", folder / "new");
  put_text(folder / "old", "text");
  require_place("some.key", folder / "old");
  EXPECT_EQ(files_in(folder.path()), 1U);
  expect_error(ExitStatus::kIo, {"some.key", "none/new", "No such file or directory"},
               [&] { require_place("some.key", folder / "none/new"); });
  expect_error(ExitStatus::kIo, {"some.key", "is a folder"}, [&] { require_place("some.key", folder.path()); });
}

TEST(Files, WhatCannotBeReadIsRefusedAndNeverWaitedFor) {
  const TemporaryFolder folder;
  expect_refused([&] { read_text(folder / "none"); }, ExitStatus::kBadInput, "No such file");
  expect_refused([&] { read_text(folder.path()); }, ExitStatus::kBadInput, "not a regular file");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_refused([&] { read_text(folder / "pipe"); }, ExitStatus::kBadInput, "not a regular file");
  expect_refused([] { read_text("/dev/zero"); }, ExitStatus::kBadInput, "not a regular file");
  fs::create_symlink(folder / "loop", folder / "loop");
  expect_refused([&] { read_text(folder / "loop"); }, ExitStatus::kBadInput, "loop");
}

TEST(Files, LinksLeadOnlyWithinTheFolderOrIntoTheCachesBlobs) {
  const TemporaryFolder folder;
  put(folder / "repo/blobs/abc", "blob");
  put(folder / "repo/snapshots/main/real", "real");
  put(folder / "other/blobs/abc", "other");
  put(folder / "repo/refs/main", "outside");
  const fs::path snapshot = folder / "repo/snapshots/main";
  fs::create_symlink("../../blobs/abc", snapshot / "to_blob");
  fs::create_symlink("real", snapshot / "to_real");
  fs::create_symlink("../../../other/blobs/abc", snapshot / "to_other_repo");
  fs::create_symlink("../../refs/main", snapshot / "to_refs");
  fs::create_symlink("to_other_repo", snapshot / "chain");
  fs::create_symlink(snapshot, folder / "model");  // the folder itself is the user's choice
  const auto read = [](const fs::path& path) { return read_text(path, 100, Links::kWithinFolder); };
  for (const fs::path& at : {snapshot, folder / "model"}) {
    EXPECT_EQ(read(at / "to_blob"), "blob");
    EXPECT_EQ(read(at / "to_real"), "real");
    for (const char* name : {"to_other_repo", "to_refs", "chain"}) {
      expect_refused([&] { read(at / name); }, ExitStatus::kBadInput, "outside its folder");
    }
    EXPECT_EQ(read_text(at / "to_refs", 100, Links::kFollow), "outside");
  }
  put(folder / "plain/blobs2/x", "x");
  fs::create_symlink("../blobs/abc", folder / "plain/link");  // blobs, but of no snapshot
  put(folder / "blobs/abc", "x");
  expect_refused([&] { read(folder / "plain/link"); }, ExitStatus::kBadInput, "outside its folder");
}

TEST(Files, AFileThatShrinksWhileItIsReadIsNoticed) {
  const TemporaryFolder folder;
  put(folder / "a", "0123456789");
  const InputFile file(folder / "a");
  fs::resize_file(folder / "a", 4);
  std::string text(10, ' ');
  expect_refused([&] { file.read_at(0, std::as_writable_bytes(std::span(text))); }, ExitStatus::kBadInput,
                 "ends at byte 4");
  expect_refused([&] { file.require_same_size(); }, ExitStatus::kBadInput, "changed from 10 to 4 bytes");
}

TEST(Files, FoldersAreMadeSyncedRenamedAndRemoved) {
  const TemporaryFolder folder;
  make_folders(folder / "a/b/c");
  make_folders(folder / "a/b/c");
  sync_folder(folder / "a");
  rename_path(folder / "a", folder / "d");
  EXPECT_TRUE(fs::is_directory(folder / "d/b/c"));
  remove_tree(folder / "d");
  remove_tree(folder / "d");
  EXPECT_FALSE(fs::exists(folder / "d"));
  put(folder / "file", "x");
  expect_refused([&] { make_folders(folder / "file"); }, ExitStatus::kOutputBusy, "file");
  expect_refused([&] { make_folders(folder / "file/below"); }, ExitStatus::kOutputBusy, "making the folder");
  expect_refused([&] { sync_folder(folder / "none"); }, ExitStatus::kIo, "none");
  expect_refused([&] { rename_path(folder / "none", folder / "x"); }, ExitStatus::kIo, "none");
}

TEST(Files, AFileSystemThatKnowsNoFsyncIsNoFailureAndOneThatFailsIs) {
  const TemporaryFolder folder;
  EXPECT_TRUE(can_sync(folder.path()));
  const auto write_all = [&] {
    write_new_file(folder / "a", "x");
    sync_file(folder / "a");
    sync_folder(folder.path());
    fs::remove(folder / "a");
  };
  for (const int unknown : {EINVAL, ENOTSUP}) {
    EXPECT_EQ(status_in_child([&] {
                fail_call(SYS_fsync, unknown);
                write_all();
                if (can_sync(folder.path())) refuse(ExitStatus::kInternal, "not noticed");
              }),
              0);
  }
  EXPECT_EQ(status_in_child([&] {
              fail_call(SYS_fsync, EIO);
              write_all();
            }),
            static_cast<int>(ExitStatus::kIo));
}

TEST(Files, CopiesAndChecksumsCoverEveryByte) {
  const TemporaryFolder folder;
  std::string big;
  big.resize(10'000'019);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31 % 251);
  put(folder / "a", big);
  copy_file_synced(folder / "a", folder / "b");
  EXPECT_TRUE(text_of(folder / "b") == big);
  EXPECT_EQ(file_checksum(folder / "a"), checksum(std::as_bytes(std::span(big))));
  big.back() ^= 1;
  EXPECT_NE(file_checksum(folder / "a"), checksum(std::as_bytes(std::span(big))));
  EXPECT_NE(checksum({}, 0), checksum({}, 1));
  EXPECT_EQ(checksum({}), 0x2d06800538d394c2u);  // XXH3's own test vector
  EXPECT_EQ(hex(0xab), "00000000000000ab");
}

}  // namespace
}  // namespace shardora
