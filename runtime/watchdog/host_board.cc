#include "runtime/watchdog/host_board.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <new>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

// Alike on all ranks of a job on this host, and on no others: by the launcher's name for the job, or else by the
// process that started them.
std::string board_name(const Environment& environment) {
  const char* const job = environment("PMIX_NAMESPACE");
  std::string name = fmt::format("/shardora-{}-{}-{}", geteuid(), host_name(),
                                 job != nullptr ? std::string(job) : fmt::format("child-of-{}", getppid()));
  std::replace_if(
      name.begin() + 1, name.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '.'; }, '_');
  return name.substr(0, 200);
}

// Of jobs that were killed before all their ranks had opened the board. After a day no rank will open it any more.
void remove_old_names() {
  std::error_code failed;
  const std::string ours = fmt::format("shardora-{}-", geteuid());
  const auto yesterday = fs::file_time_type::clock::now() - std::chrono::hours(24);
  for (const auto& entry : fs::directory_iterator("/dev/shm", failed)) {
    if (!entry.path().filename().string().starts_with(ours)) continue;
    const auto written = entry.last_write_time(failed);
    if (!failed && written < yesterday) fs::remove(entry.path(), failed);
  }
}

void* map(int descriptor, std::size_t bytes) {
  const int kind = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind, descriptor, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// Only memory that this user owns and that no other may write.
void* map_shared(const std::string& name, std::size_t bytes) {
  const int descriptor = shm_open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return nullptr;
  struct stat status {};
  const bool ours = fstat(descriptor, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 077U) == 0;
  void* const memory =
      ours && posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)) == 0 ? map(descriptor, bytes) : nullptr;
  close(descriptor);
  return memory;
}

}  // namespace

HostBoard::HostBoard(const Environment& environment, int ranks, int rank)
    : rank_(rank),
      name_(board_name(environment)),
      bytes_(kHeaderBytes + static_cast<std::size_t>(ranks) * sizeof(StateSlot)) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  if (ranks > 1) remove_old_names();
  void* memory = ranks > 1 ? map_shared(name_, bytes_) : nullptr;
  shared_ = memory != nullptr;
  if (!shared_) memory = map(-1, bytes_);
  if (memory == nullptr) throw std::bad_alloc();
  memory_ = static_cast<std::byte*>(memory);
  mine().clear();  // of an earlier job of that name
}

HostBoard::~HostBoard() { munmap(memory_, bytes_); }

void HostBoard::forget_name() {
  if (shared_) shm_unlink(name_.c_str());  // the first one does it
}

bool HostBoard::claim_report() { return reinterpret_cast<Header*>(memory_)->claimed.exchange(1) == 0; }

}  // namespace shardora
