#include "runtime/doctor/deadline.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "runtime/doctor/facts.h"
#include "runtime/doctor/judge.h"
#include "runtime/doctor/siblings.h"

namespace shardora {
namespace {

std::string host_name() {
  utsname system{};
  return uname(&system) == 0 ? system.nodename : "(unnamed)";
}

// MPI's start may hang by it.
std::string told_wrongly() {
  RankFacts here;
  here.mpi_interfaces = told_interfaces();
  here.on = look_at_host();
  std::string text;
  for (const Finding& one : judge_told(here)) text += "; " + one.text;
  return text;
}

}  // namespace

Deadline::Deadline(double seconds, int rank) : seconds_(seconds), rank_(rank), board_(std::make_unique<Board>(rank)) {
  board_->write(current_, tests_);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are the main thread's
  thread_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Deadline::~Deadline() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void Deadline::at(std::string_view test) {
  const std::lock_guard lock(mutex_);
  current_ = test;
  board_->write(test, ++tests_);
}

std::string Deadline::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void Deadline::share(Communicator& host, int rank) {
  auto shared = std::make_unique<Board>(host, rank);
  const std::lock_guard lock(mutex_);
  board_ = std::move(shared);
  shared_ = true;
  board_->write(current_, tests_);
}

void Deadline::watch() {
  std::unique_lock lock(mutex_);
  const auto limit =
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds_));
  if (ended_.wait_for(lock, limit, [this] { return over_; })) return;
  expire();
}

// With the lock held: the main thread can end nothing meanwhile.
void Deadline::expire() {
  std::vector<RankDoing> ranks = board_->read();
  if (!shared_) {
    for (RankDoing& one : stopped_siblings()) ranks.push_back(std::move(one));
  }
  if (board_->first_to_report()) {
    fmt::print(stderr, "shardora: [rank {}] doctor: not done after {:g} s (doctor.timeout_seconds); {}{}\n", rank_,
               seconds_, describe(ranks, host_name()), told_wrongly());
    std::fflush(stderr);
  } else {
    sleep(1);  // the launcher ends all ranks at the first that ends: let the one that reports be heard
  }
  _exit(static_cast<int>(ExitStatus::kUnavailable));
}

}  // namespace shardora
