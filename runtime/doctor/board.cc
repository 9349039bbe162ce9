#include "runtime/doctor/board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "runtime/doctor/siblings.h"

namespace shardora {
namespace {

constexpr std::size_t kText = 120;

// The same clock in every process of a host.
std::int64_t now_milliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// Two texts in turn, so that a reader finds a whole one while the other is written.
struct Board::Place {
  std::atomic<std::int64_t> process, rank, tests, since;
  std::array<std::array<char, kText>, 2> text;
  std::atomic<std::int64_t> reported;  // of the first place
};

namespace {

void* map(int descriptor, std::size_t bytes) {
  const int how = descriptor < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, how, descriptor, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// The file that carries the memory: made by the host's first rank, opened by the others, gone when all have it.
int open_together(Communicator& host, std::size_t bytes) {
  std::string name = "/dev/shm/shardora-doctor-XXXXXX";
  int descriptor = -1;
  if (host.rank() == 0) {
    descriptor = mkostemp(name.data(), O_CLOEXEC);
    if (descriptor >= 0 && posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)) != 0) {
      close(descriptor);
      unlink(name.c_str());
      descriptor = -1;
    }
  }
  name = host.broadcast(name, 0);
  if (host.rank() != 0) descriptor = open(name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  const bool all = host.all_reduce(std::int64_t{descriptor >= 0}, Reduction::kMin) == 1;
  if (host.rank() == 0 && descriptor >= 0) unlink(name.c_str());
  if (all || descriptor < 0) return descriptor;
  close(descriptor);
  return -1;
}

}  // namespace

Board::Board(int rank) {
  places_ = static_cast<Place*>(map(-1, sizeof(Place)));
  SHARDORA_CHECK(places_ != nullptr);
  take_place(0, rank);
}

Board::Board(Communicator& host, int rank) {
  const auto size = static_cast<std::size_t>(host.size());
  const int descriptor = open_together(host, size * sizeof(Place));
  if (descriptor >= 0) {
    count_ = size;
    places_ = static_cast<Place*>(map(descriptor, size * sizeof(Place)));
    close(descriptor);
  } else {
    places_ = static_cast<Place*>(map(-1, sizeof(Place)));
  }
  SHARDORA_CHECK(places_ != nullptr);
  take_place(descriptor >= 0 ? host.rank() : 0, rank);
}

Board::~Board() { munmap(places_, count_ * sizeof(Place)); }

void Board::take_place(int index, int rank) {
  mine_ = static_cast<std::size_t>(index);
  places_[mine_].process = getpid();
  places_[mine_].rank = rank;
  write("the start", 0);
}

void Board::write(std::string_view test, std::int64_t tests) {
  Place& place = places_[mine_];
  std::array<char, kText>& text = place.text[static_cast<std::size_t>(tests % 2)];
  const std::size_t length = std::min(test.size(), kText - 1);
  std::memcpy(text.data(), test.data(), length);
  text[length] = '\0';
  place.since = now_milliseconds();
  place.tests.store(tests, std::memory_order_release);
}

std::vector<RankDoing> Board::read() const {
  std::vector<RankDoing> ranks;
  for (std::size_t i = 0; i < count_; ++i) {
    const Place& place = places_[i];
    if (place.process == 0) continue;  // not yet here
    const std::int64_t tests = place.tests.load(std::memory_order_acquire);
    ranks.push_back({.rank = static_cast<int>(place.rank),
                     .process = place.process,
                     .tests = tests,
                     .test = place.text[static_cast<std::size_t>(tests % 2)].data(),
                     .seconds = static_cast<double>(now_milliseconds() - place.since) / 1e3,
                     .stopped = is_stopped(place.process)});
  }
  return ranks;
}

bool Board::first_to_report() { return places_[0].reported.exchange(1) == 0; }

std::string describe(const std::vector<RankDoing>& ranks, const std::string& host) {
  std::int64_t most = 0;
  for (const RankDoing& one : ranks) most = std::max(most, one.tests);
  std::string text, behind;
  for (const RankDoing& one : ranks) {
    text +=
        fmt::format("{}rank {} was at '{}' for {:.1f} s", text.empty() ? "" : ", ", one.rank, one.test, one.seconds);
    if (one.stopped) text += fmt::format(" and process {} is stopped", one.process);
    if (one.tests < most || one.stopped) behind += fmt::format("{}{}", behind.empty() ? "" : ", ", one.rank);
  }
  const std::string advice =
      behind.empty() ? "none is behind: another host, the network or a server of files does not answer"
                     : "behind is rank " + behind + ": look at that process (kill -CONT wakes a stopped one)";
  return fmt::format("on host {}: {}; {}", host, text, advice);
}

}  // namespace shardora
