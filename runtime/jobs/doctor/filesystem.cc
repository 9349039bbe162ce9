#include "runtime/jobs/doctor/filesystem.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPiece = std::size_t{4} << 20, kPieces = 16;  // written for the speed
constexpr double kLongest = 2;                                      // seconds of it

// An open file of ours.
class File {
 public:
  File(const fs::path& path, int flags) : descriptor_(open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0666)) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

// The tests, each with one finding where it fails; later ones go on.
class FolderTest {
 public:
  FolderTest(FolderFacts& facts, std::string host, fs::path own)
      : facts_(facts), host_(std::move(host)), own_(std::move(own)) {}

  void run() {
    if (mkdir(own_.c_str(), 0700) != 0) {
      fault("cannot make a folder", errno, "a run could write nothing there: choose another output.dir");
      return;
    }
    makes_once();
    writes_through();
    renames();
    locks();
    std::error_code ignored;
    fs::remove_all(own_, ignored);
  }

 private:
  void fault(const std::string& what, int error, const std::string& remedy) {
    const std::string reason = error == 0 ? "" : fmt::format(" ({})", std::strerror(error));
    const std::string room =
        error == ENOSPC || error == EDQUOT ? fmt::format(", {} bytes are free", facts_.free_bytes) : "";
    facts_.findings.push_back({true, fmt::format("output.dir {} on host {}: {}{}{}; {}", printable(facts_.folder),
                                                 host_, what, reason, room, remedy)});
  }

  // O_EXCL: a second maker of the same name must fail.
  void makes_once() {
    const File first(own_ / "once", O_WRONLY | O_CREAT | O_EXCL);
    if (!first.is_open())
      return fault("cannot create a file", errno,
                   "a run could write nothing there: make room, or choose another output.dir");
    const File second(own_ / "once", O_WRONLY | O_CREAT | O_EXCL);
    if (second.is_open() || errno != EEXIST)
      fault("creates one file twice (O_EXCL)", 0,
            "two runs could not tell their files apart: choose another file system");
  }

  void writes_through() {
    const File file(own_ / "written", O_WRONLY | O_CREAT | O_EXCL);
    if (!file.is_open()) return;  // reported above
    const std::vector<char> piece(kPiece, 'x');
    const double begin = monotonic_seconds();
    const auto seconds = [begin] { return monotonic_seconds() - begin; };
    double bytes = 0;
    for (std::size_t i = 0; i < kPieces && seconds() < kLongest; ++i) {
      const ssize_t written = write(file.get(), piece.data(), kPiece);
      if (written < 0) return fault("cannot write", errno, "free space there, or choose another output.dir");
      bytes += static_cast<double>(written);
    }
    if (fsync(file.get()) != 0)
      return fault("cannot write through to the disk (fsync)", errno,
                   "no checkpoint would be safe: choose another file system");
    facts_.write_bytes_per_second = bytes / std::max(seconds(), 1e-9);
  }

  // A file over another, then a folder to a free name: how a checkpoint appears.
  void renames() {
    const bool file = std::rename((own_ / "once").c_str(), (own_ / "written").c_str()) == 0;
    const bool folder = mkdir((own_ / "staged").c_str(), 0700) == 0 &&
                        std::rename((own_ / "staged").c_str(), (own_ / "whole").c_str()) == 0;
    if (!file || !folder)
      return fault("cannot rename", errno, "no checkpoint could be finished: choose another file system");
    if (fs::exists(own_ / "once") || !fs::is_directory(own_ / "whole"))
      fault("a renamed file has its old name still", 0,
            "no checkpoint could be told whole: choose another file system");
    const File parent(own_, O_RDONLY | O_DIRECTORY);
    if (fsync(parent.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
      fault("cannot write a folder through to the disk (fsync)", errno, "choose another file system");
  }

  void locks() {
    const File first(own_ / "lock", O_RDWR | O_CREAT), second(own_ / "lock", O_RDWR);
    if (!first.is_open() || !second.is_open()) return;  // reported above
    if (flock(first.get(), LOCK_EX | LOCK_NB) != 0) {
      facts_.locks = false;
      const int error = errno;
      if (error != ENOSYS && error != EOPNOTSUPP && error != ENOLCK)
        fault("cannot lock a file (flock)", error, "choose another file system");
      return;
    }
    if (flock(second.get(), LOCK_EX | LOCK_NB) == 0)
      fault("locks one file twice (flock)", 0,
            "two runs could take one folder: mount it with working locks, or choose another");
  }

  FolderFacts& facts_;
  std::string host_;
  fs::path own_;
};

// The nearest folder at or above `path` that there is.
fs::path nearest_folder(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored);
  while (!fs::is_directory(path, ignored) && path != path.parent_path()) path = path.parent_path();
  return path;
}

std::string own_name(const char* what) {
  return fmt::format(".shardora-doctor-{}-{}-{:.9f}", what, getpid(), monotonic_seconds());
}

}  // namespace

std::int64_t free_bytes(const fs::path& folder) {
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  return failed ? 0 : static_cast<std::int64_t>(space.available);
}

FolderFacts test_folder(const fs::path& output, const std::string& host) {
  const fs::path folder = nearest_folder(output);
  FolderFacts facts{.folder = folder.string(), .free_bytes = free_bytes(folder), .findings = {}};
  std::error_code ignored;
  const bool in_the_way = fs::is_symlink(output, ignored) || fs::exists(output, ignored);
  if (in_the_way && !fs::is_directory(output, ignored)) {
    facts.findings.push_back(
        {true,
         fmt::format(
             "output.dir {} on host {}: what stands there is no folder, nor a link to one; remove it or choose another",
             printable(output.string()), host)});
  }
  FolderTest(facts, host, folder / own_name("test")).run();
  append(facts.findings, judge_folder(facts, host));
  return facts;
}

Findings judge_folder(const FolderFacts& facts, const std::string& host) {
  constexpr std::int64_t kLittle = std::int64_t{1} << 30;
  constexpr double kSlow = 20e6;
  Findings findings;
  const std::string where = fmt::format("output.dir {} on host {}: ", printable(facts.folder), host);
  if (!facts.locks) {
    findings.push_back(
        {false, where + "no flock: run.lock cannot tell whether another run still lives, so start one run at a "
                        "time there (Lustre: mount with -o flock)"});
  }
  if (facts.free_bytes < kLittle) {
    findings.push_back({false, where + fmt::format("{} MiB are free: a checkpoint may not fit (shardora plan tells its "
                                                   "size); make room, or choose another output.dir",
                                                   facts.free_bytes >> 20)});
  }
  if (facts.write_bytes_per_second > 0 && facts.write_bytes_per_second < kSlow) {
    findings.push_back(
        {false, where + fmt::format("{:.1f} MB/s written: checkpoints will take long; choose a faster file "
                                    "system, or a greater output.checkpoint_every",
                                    facts.write_bytes_per_second / 1e6)});
  }
  return findings;
}

Findings test_sharing(Communicator& world, const fs::path& folder, bool first_of_host) {
  const fs::path place = nearest_folder(folder);
  std::string name = (place / own_name("shared")).string();
  const bool made = world.rank() == 0 && File(name, O_WRONLY | O_CREAT | O_EXCL).is_open();
  name = world.broadcast(made ? name : "", 0);
  if (name.empty()) return {};  // rank 0 cannot write there, which its own test reports
  std::error_code ignored;
  const bool seen = !first_of_host || fs::exists(name, ignored);
  const std::int64_t first = world.all_reduce(std::int64_t{seen ? world.size() : world.rank()}, Reduction::kMin);
  if (world.rank() != 0) return {};
  unlink(name.c_str());
  if (first == world.size()) return {};
  return {
      {true, fmt::format("output.dir {}: the host of rank {} does not see there what rank 0 writes; give a folder of a "
                         "file system that all hosts share",
                         printable(folder.string()), first)}};
}

}  // namespace shardora
