// The lock is the kernel's; what stands in the file is for people, for messages, and for what the kernel cannot know.
#include "runtime/run/run_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/check.h"
#include "runtime/formats/json.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

// Empty where the file is empty: a clean end empties it, a start may not have written yet.
std::string content_of(int descriptor) {
  std::array<char, 4096> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

[[noreturn]] void refuse_lock(const char* what, const fs::path& path) {
  const std::string reason = std::strerror(errno);
  refuse(ExitStatus::kOutputBusy, "output.dir: cannot {} {}: {}", what, printable(path.string()), reason);
}

int open_lock(const fs::path& path, int more_flags) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | more_flags, 0666);
  if (descriptor < 0) refuse_lock("write", path);
  return descriptor;
}

enum class Flock : std::uint8_t { kTaken, kHeld, kUnknown };
Flock try_flock(int descriptor, const fs::path& path) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return Flock::kTaken;
  if (errno == EWOULDBLOCK) return Flock::kHeld;
  if (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK) return Flock::kUnknown;
  refuse_lock("lock", path);
}

std::optional<Holder> holder_in(int descriptor) { return parse_holder(content_of(descriptor)); }

// The other run may have taken the lock just now and not yet written its name.
std::optional<Holder> named_holder(int descriptor) {
  std::optional<Holder> holder = holder_in(descriptor);
  for (int i = 0; i < 20 && !holder; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    holder = holder_in(descriptor);
  }
  return holder;
}

bool same_start(const Holder& a, const Holder& b) {
  return a.host == b.host && a.process == b.process && a.process_start == b.process_start && a.boot_id == b.boot_id;
}

}  // namespace

Holder this_process() {
  Holder holder;
  holder.host = host_name();
  holder.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  holder.job = environment("SLURM_JOB_ID", "none");
  holder.process = getpid();
  holder.process_start = process_stat(getpid()).start;
  holder.restart_count = std::atoll(environment("SLURM_RESTART_COUNT", "0").c_str());
  holder.started = std::time(nullptr);
  return holder;
}

std::string to_text(const Holder& holder) {
  return Json{{"host", holder.host},
              {"process", holder.process},
              {"process_start", holder.process_start},
              {"boot_id", holder.boot_id},
              {"job", holder.job},
              {"restart_count", holder.restart_count},
              {"started", holder.started},
              {"heartbeat", holder.heartbeat}}
             .dump() +
         '\n';
}

std::optional<Holder> parse_holder(std::string_view text) {
  constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kEndOfYear9999 = 253'402'300'799;  // later ones cannot be told
  try {
    const Json value = parse_json(text, "run.lock");
    const JsonFields fields(value, "run.lock");
    return Holder{.host = fields.text("host"),
                  .boot_id = fields.text("boot_id"),
                  .job = fields.text("job"),
                  .process = fields.integer("process", 1, kHighest),
                  .process_start = fields.integer("process_start", -1, kHighest),
                  .restart_count = fields.integer("restart_count", kLowest, kHighest),
                  .started = fields.integer("started", 0, kEndOfYear9999),
                  .heartbeat = fields.has("heartbeat") ? fields.integer("heartbeat", 0, kHighest) : 0};
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string describe(const Holder& holder) {
  const std::string job = holder.job == "none" ? "" : fmt::format(" (job {})", printable(holder.job));
  return fmt::format("process {} on host {}{}, since {:%Y-%m-%d %H:%M:%S} UTC", holder.process, printable(holder.host),
                     job, fmt::gmtime(static_cast<std::time_t>(holder.started)));
}

bool is_earlier_start(const Holder& holder, const Holder& me) {
  return holder.job != "none" && holder.job == me.job && holder.restart_count < me.restart_count;
}

bool may_still_run(const Holder& holder, const Holder& me) {
  if (is_earlier_start(holder, me)) return false;
  if (holder.host != me.host) return true;  // not to be seen from here
  return holder.boot_id == me.boot_id && process_stat(holder.process).start == holder.process_start;
}

RunLock::RunLock(const fs::path& path, LockTimes times)
    : path_(path), times_(times), descriptor_(open_lock(path, 0)), me_(this_process()) {
  try {
    take();
    write_name();
    beating_ = std::jthread([this](const std::stop_token& stop) { beat(stop); });
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RunLock::~RunLock() {
  beating_ = {};  // stops it and waits
  // Emptied first: without flock, a name left behind would keep the next run out. Failure leaves only that message.
  const std::optional<Holder> holder = holder_in(descriptor_);
  if (holder && same_start(*holder, me_) && ftruncate(descriptor_, 0) != 0) errno = 0;
  ::close(descriptor_);
}

void RunLock::take() {
  const Flock flock = try_flock(descriptor_, path_);
  if (flock != Flock::kTaken) outlast(flock == Flock::kHeld);
}

// Returns once the lock is ours after all, or once nobody can be at work under it; refuses where somebody is.
void RunLock::outlast(bool flock_known) {
  const std::optional<Holder> holder = flock_known ? named_holder(descriptor_) : holder_in(descriptor_);
  const bool may_run = holder && may_still_run(*holder, me_);
  if (!flock_known && !may_run) return;
  // Of a lock without a name nothing can be watched.
  if (!holder || (may_run && holder->host == me_.host)) refuse_busy();
  const bool has_lost = holder && is_earlier_start(*holder, me_);
  const std::string before = content_of(descriptor_);
  const Clock::time_point end = Clock::now() + times_.patience;
  while (!has_lost && Clock::now() < end) {
    if (flock_known && try_flock(descriptor_, path_) == Flock::kTaken) return;
    if (content_of(descriptor_) != before) refuse_busy();
    std::this_thread::sleep_for(times_.patience / 100);
  }
  if (flock_known) replace_stale_lock_file();
}

// A lock that nobody frees any more stays with its file; the new file takes the name. Of two that come to this at once,
// the later has it, and the earlier is refused.
void RunLock::replace_stale_lock_file() {
  const fs::path fresh = fmt::format("{}.new-{}-{}", path_.string(), printable(me_.host), me_.process);
  const int descriptor = open_lock(fresh, O_EXCL);
  ::close(std::exchange(descriptor_, descriptor));
  if (try_flock(descriptor_, fresh) == Flock::kHeld) refuse_busy();
  rename_path(fresh, path_);
  require_same_file();
}

void RunLock::write_name() {
  const std::string text = to_text(me_);
  if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, text.data(), text.size(), 0) != std::ssize(text)) {
    refuse_lock("write", path_);
  }
}

// A beat that cannot be written is not this run's end: the next one may be, and what must be written will say so.
void RunLock::beat(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, stop, times_.beat, [&] { return stop.stop_requested(); })) {
    const std::optional<Holder> holder = holder_in(descriptor_);
    if (!holder) continue;  // not to be read just now
    if (!same_start(*holder, me_)) return;
    ++me_.heartbeat;
    const std::string text = to_text(me_);
    if (pwrite(descriptor_, text.data(), text.size(), 0) < 0) continue;
  }
}

void RunLock::require_held() const {
  require_same_file();
  const std::lock_guard lock(mutex_);
  const std::optional<Holder> holder = holder_in(descriptor_);
  if (!holder) {
    refuse(ExitStatus::kIo, "output.dir {}: {} has lost this run's name: nothing more is saved",
           printable(path_.parent_path().string()), printable(path_.string()));
  }
  if (!same_start(*holder, me_)) refuse_busy();
}

void RunLock::require_same_file() const {
  struct stat ours {
  }, there{};
  if (::fstat(descriptor_, &ours) != 0 || ::stat(path_.c_str(), &there) != 0) {
    const std::string reason = std::strerror(errno);
    refuse(ExitStatus::kIo, "output.dir {}: {} was removed while the run was using it ({}): nothing more is saved",
           printable(path_.parent_path().string()), printable(path_.string()), reason);
  }
  if (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino) refuse_busy();
}

void RunLock::refuse_busy() const {
  const int there = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);  // another file than ours where it lost
  const std::optional<Holder> holder = there < 0 ? std::nullopt : named_holder(there);
  if (there >= 0) ::close(there);
  refuse(ExitStatus::kOutputBusy, "output.dir {}: another run is using it: {}; end that run or choose another folder",
         printable(path_.parent_path().string()), holder ? describe(*holder) : "it has not written its name");
}

}  // namespace shardora
