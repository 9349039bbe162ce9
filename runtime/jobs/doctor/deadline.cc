#include "runtime/jobs/doctor/deadline.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "runtime/jobs/doctor/doings.h"
#include "runtime/jobs/doctor/facts.h"
#include "runtime/jobs/doctor/judge.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

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

Deadline::Deadline(double seconds, const Environment& environment)
    : seconds_(seconds),
      rank_(launched_rank(environment)),
      ranks_(std::max(launched_ranks(environment).value_or(1), rank_ + 1)),
      board_(environment, ranks_, rank_) {
  record_.publish_to(board_.mine());
  at("the start of MPI");
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
  record_.at(test);
}

std::string Deadline::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void Deadline::met(Communicator& host) {
  host.barrier();
  board_.forget_name();
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
  const std::vector<RankDoing> ranks = read_doings(board_, ranks_);
  board_.forget_name();
  if (board_.claim_report()) {
    const std::string line =
        fmt::format("shardora: [rank {}] doctor: not done after {:g} s (doctor.timeout_seconds); {}{}\n", rank_,
                    seconds_, describe(ranks, host_name()), told_wrongly());
    std::fputs(line.c_str(), stderr);  // fmt::print would throw where standard error is gone
    std::fflush(stderr);
  } else {
    sleep(1);  // the launcher ends all ranks at the first that ends: let the one that reports be heard
  }
  _exit(static_cast<int>(ExitStatus::kUnavailable));
}

}  // namespace shardora
