// The lock is the kernel's; what stands in the file is for people, for messages, and for file systems without flock.
#include "runtime/train/run_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "kernels/check.h"
#include "runtime/io/json.h"

namespace shardora {
namespace {

using Json = nlohmann::ordered_json;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of /proc/<process>/stat; -1 where there is no such process. The name in field 2 may hold spaces and
// brackets.
std::int64_t start_of(std::int64_t process) {
  const std::string stat = first_line(fmt::format("/proc/{}/stat", process));
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return -1;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  std::int64_t start = -1;
  std::from_chars(field.data(), field.data() + field.size(), start);
  return start;
}

std::string to_text(const Holder& holder) {
  return Json{{"host", holder.host},       {"process", holder.process}, {"process_start", holder.process_start},
              {"boot_id", holder.boot_id}, {"job", holder.job},         {"restart_count", holder.restart_count},
              {"started", holder.started}}
             .dump() +
         '\n';
}

// A clean end empties the file, and a start may not have written yet.
std::optional<Holder> read_holder(int descriptor) {
  std::array<char, 4096> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
  return size <= 0 ? std::nullopt : parse_holder({text.data(), static_cast<std::size_t>(size)});
}

[[noreturn]] void refuse_busy(const std::filesystem::path& path, int descriptor) {
  std::optional<Holder> holder = read_holder(descriptor);
  // The other run may have taken the lock just now and not yet written its name.
  for (int i = 0; i < 20 && !holder; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    holder = read_holder(descriptor);
  }
  refuse(ExitStatus::kOutputBusy, "output.dir {}: another run is using it: {}; end that run or choose another folder",
         printable(path.parent_path().string()), holder ? describe(*holder) : "it has not written its name");
}

void write_holder(int descriptor, const std::filesystem::path& path) {
  const std::string text = to_text(this_process());
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, text.data(), text.size(), 0) != std::ssize(text)) {
    refuse(ExitStatus::kOutputBusy, "output.dir: cannot write {}: {}", printable(path.string()), std::strerror(errno));
  }
}

// Takes the lock, or refuses; the caller closes the descriptor.
void take(int descriptor, const std::filesystem::path& path) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) refuse_busy(path, descriptor);
    if (errno != ENOSYS && errno != EOPNOTSUPP && errno != ENOLCK) {
      refuse(ExitStatus::kOutputBusy, "output.dir: cannot lock {}: {}", printable(path.string()), std::strerror(errno));
    }
    const std::optional<Holder> holder = read_holder(descriptor);
    if (holder && may_still_run(*holder, this_process())) {
      refuse(ExitStatus::kOutputBusy,
             "output.dir {}: {} has it, and this file system has no flock that could tell whether it still runs; if it "
             "is gone, remove {}",
             printable(path.parent_path().string()), describe(*holder), printable(path.string()));
    }
  }
  write_holder(descriptor, path);
}

}  // namespace

Holder this_process() {
  Holder holder;
  std::array<char, 256> host{};
  holder.host = gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "unknown";
  holder.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  holder.job = environment("SLURM_JOB_ID", "none");
  holder.process = getpid();
  holder.process_start = start_of(getpid());
  holder.restart_count = std::atoll(environment("SLURM_RESTART_COUNT", "0").c_str());
  holder.started = std::time(nullptr);
  return holder;
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
                  .started = fields.integer("started", 0, kEndOfYear9999)};
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string describe(const Holder& holder) {
  const std::string job = holder.job == "none" ? "" : fmt::format(" (job {})", printable(holder.job));
  return fmt::format("process {} on host {}{}, since {:%Y-%m-%d %H:%M:%S} UTC", holder.process, printable(holder.host),
                     job, fmt::gmtime(static_cast<std::time_t>(holder.started)));
}

bool may_still_run(const Holder& holder, const Holder& me) {
  if (holder.job != "none" && holder.job == me.job && holder.restart_count < me.restart_count) return false;
  if (holder.host != me.host) return true;  // not to be seen from here
  return holder.boot_id == me.boot_id && start_of(holder.process) == holder.process_start;
}

RunLock::RunLock(const std::filesystem::path& path)
    : descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)) {
  if (descriptor_ < 0) {
    refuse(ExitStatus::kOutputBusy, "output.dir: cannot write {}: {}", printable(path.string()), std::strerror(errno));
  }
  try {
    take(descriptor_, path);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

RunLock::~RunLock() {
  // Emptied first: without flock, a name left behind would keep the next run out. Failure leaves only that message.
  if (ftruncate(descriptor_, 0) != 0) errno = 0;
  close(descriptor_);
}

}  // namespace shardora
