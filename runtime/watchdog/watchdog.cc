#include "runtime/watchdog/watchdog.h"

#include <fmt/format.h>
#include <mpi.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>

#include "kernels/check.h"
#include "runtime/comm/mpi_check.h"
#include "runtime/system/proc.h"
#include "runtime/watchdog/activity.h"
#include "runtime/watchdog/gossip.h"
#include "runtime/watchdog/host_board.h"
#include "runtime/watchdog/stall.h"

namespace shardora {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr double kPatienceIntervals = 3;  // for the lower ranks, which report first
constexpr double kLeastPatienceSeconds = 1;
constexpr double kLastSeconds = 2;  // from the report to the end of this process

double interval_of(const WatchdogPlan& plan) {
  return std::clamp(std::min(plan.seconds, plan.init_seconds) / 20, 0.02, 1.0);
}

// Time that a thread has worked. One that stands still, in a lock, a dead file system or a page fault, has none.
std::int64_t worked_ns(clockid_t clock) {
  timespec time{};
  return clock_gettime(clock, &time) == 0 ? time.tv_sec * 1'000'000'000 + time.tv_nsec : 0;
}

std::string to_text(const std::vector<RecordedCollective>& calls) {
  std::string text = "the last collectives of this rank:";
  const double time = monotonic_seconds();
  for (const RecordedCollective& call : calls) {
    text += fmt::format("\n  {} group #{}: {}, {}, entered {:.3f} s ago, {}",
                        kGroupNames[static_cast<std::size_t>(call.group)], call.sequence, describe(call),
                        call.activity.data(), time - call.entered,
                        call.left > 0 ? fmt::format("took {:.3f} s", call.left - call.entered) : "not left");
  }
  return text;
}

}  // namespace

struct Watchdog::Impl {
  Impl(const WatchdogPlan& the_plan, const Environment& environment, FlightRecord& the_record, int ranks, int the_rank)
      : plan(the_plan),
        record(the_record),
        rank(the_rank),
        board(environment, ranks, the_rank),
        views(static_cast<std::size_t>(ranks)),
        statuses(views.size()),
        ages(views.size(), interval_of(plan)) {
    if (pthread_getcpuclockid(pthread_self(), &main_clock) != 0) main_clock = CLOCK_PROCESS_CPUTIME_ID;
    const char* const here = environment("OMPI_COMM_WORLD_LOCAL_SIZE");
    ranks_here = here != nullptr ? std::atoi(here) : 0;
    record.publish_to(board.mine());
    thread = std::thread([this] { plan.deadline_seconds > 0 ? watch_deadline() : watch_peers(); });
  }

  void watch_deadline();
  void watch_peers();
  void note_own_work();
  void look_at_peers();
  StallLimits limits() const;
  void expire(const Stall& stall);
  // Prints make_report() if no rank of this host has, and ends.
  [[noreturn]] void end_all(ExitStatus status, const std::function<std::string()>& make_report);
  bool sleep(double seconds);  // false: asked to end

  const WatchdogPlan plan;
  FlightRecord& record;  // not owned
  const int rank;
  int ranks_here = 0;  // from the launcher; 0: unknown
  HostBoard board;
  std::vector<RankView> views;
  std::vector<RankStatus> statuses;
  PeerAges ages;
  clockid_t main_clock{};
  std::int64_t worked = 0;
  std::optional<double> waits_for_lower_since;

  std::mutex mutex;
  std::condition_variable changed;
  bool ends = false, mpi_up = false;
  std::unique_ptr<Gossip> gossip;  // null: one host, or MPI has stopped
  Action action;
  std::thread thread;
};

void Watchdog::Impl::watch_deadline() {
  if (!sleep(plan.deadline_seconds)) return;
  end_all(ExitStatus::kUnavailable, [this] {
    return plan.deadline_report(describe(read_activities(board, static_cast<int>(views.size())), host_name()));
  });
}

void Watchdog::Impl::watch_peers() {
  const double interval = interval_of(plan);
  do {
    ages.tick(monotonic_seconds());
    board.mine().beat();
    note_own_work();
    look_at_peers();
    if (const auto stall = find_stall(views, limits())) {
      expire(*stall);
    } else {
      waits_for_lower_since.reset();
    }
  } while (sleep(interval));
}

bool Watchdog::Impl::sleep(double seconds) {
  std::unique_lock lock(mutex);
  return !changed.wait_for(lock, Seconds(seconds), [this] { return ends; });
}

// Work between collectives: reading, sorting, a large product. Waiting inside a collective is no work, whatever
// processor time it takes.
void Watchdog::Impl::note_own_work() {
  const std::int64_t total = worked_ns(main_clock);
  const bool moved = total != worked;
  worked = total;
  if (moved && !record.waits()) record.progressed();
}

void Watchdog::Impl::look_at_peers() {
  int present = 0;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const StateSlot& slot = board.slot(static_cast<int>(i));
    const std::uint64_t heartbeat = slot.heartbeat();
    if (heartbeat > 0 && slot.read(statuses[i].state)) statuses[i].heartbeat = heartbeat;
    views[i].near = heartbeat > 0;
    present += heartbeat > 0 ? 1 : 0;
  }
  {
    const std::lock_guard lock(mutex);  // MPI does not end meanwhile
    if (gossip) gossip->round(statuses);
  }
  // Once all ranks of this host are on its board, the others run on other hosts.
  const bool complete = ranks_here > 0 && present >= ranks_here;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto& [heartbeat, state] = statuses[i];
    if (heartbeat > 0) ages.see(i, state.progress, heartbeat);
    views[i] = {.known = heartbeat > 0,
                .near = views[i].near || !complete,
                .state = state,
                .still_seconds = ages.still_seconds(i),
                .silent_seconds = ages.silent_seconds(i)};
  }
}

StallLimits Watchdog::Impl::limits() const {
  const bool starting = views[static_cast<std::size_t>(rank)].state.starts != 0;
  const double seconds = starting ? plan.init_seconds : plan.seconds;
  return {.seconds = seconds, .silent_seconds = std::min(seconds / 2, std::max(2.0, 4 * interval_of(plan)))};
}

void Watchdog::Impl::expire(const Stall& stall) {
  const bool speaks = stall.rank >= 0 && lowest_living(views, limits()) == rank;
  if (!waits_for_lower_since) waits_for_lower_since = ages.awake_seconds();
  const double patience = std::max(kLeastPatienceSeconds, kPatienceIntervals * interval_of(plan));
  if (!speaks && ages.awake_seconds() - *waits_for_lower_since < patience) return;
  end_all(ExitStatus::kStoppedEarly, [&stall] {
    return fmt::format(
        "no progress{} for {:.0f} s: {}; the job ends, and the next start continues from the last checkpoint; look at "
        "that rank's host and log (a rank that works is never late; parallel.timeout_seconds is the limit)",
        stall.rank >= 0 ? fmt::format(" of rank {}", stall.rank) : std::string(), stall.seconds, stall.why);
  });
}

// Whatever hangs, in a file system or in MPI, the process ends; a full disk does not keep it from that.
void Watchdog::Impl::end_all(ExitStatus status, const std::function<std::string()>& make_report) {
  const int code = static_cast<int>(status);
  board.forget_name();
  const bool reports = board.claim_report();
  std::thread([this, code, reports, &make_report] {
    Action last;
    bool abort = false;
    {
      const std::lock_guard lock(mutex);
      last = action, abort = mpi_up;
    }
    try {
      if (reports) {
        const std::string report = make_report(), line = fmt::format("shardora: [rank {}] {}\n", rank, report);
        [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
        if (last) last(report, to_text(record.last()));
      } else {
        std::this_thread::sleep_for(Seconds(kLastSeconds / 4));  // until the one that reports has done so
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "shardora: %s\n", error.what());
    }
    if (abort) MPI_Abort(MPI_COMM_WORLD, code);
    ::_exit(code);
  }).detach();
  std::this_thread::sleep_for(Seconds(reports ? kLastSeconds : kLastSeconds / 2));
  ::_exit(code);
}

Watchdog::Watchdog(const WatchdogPlan& plan, const Environment& environment) {
  const int ranks = launched_ranks(environment).value_or(1), rank = launched_rank(environment);
  const bool has_peers = ranks > 1 && rank < ranks;
  if (plan.deadline_seconds <= 0 && (plan.seconds <= 0 || !has_peers)) return;
  impl_ = std::make_unique<Impl>(plan, environment, *this, std::max(ranks, rank + 1), rank);
}

Watchdog::~Watchdog() {
  if (!impl_) return;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ends = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

void Watchdog::mpi_started(const std::vector<int>& remote) {
  if (!impl_) return;
  impl_->board.forget_name();
  if (impl_->plan.deadline_seconds > 0) return;
  int threads = MPI_THREAD_SINGLE;
  SHARDORA_CHECK(MPI_Query_thread(&threads));
  int hosts = remote.empty() ? 1 : 2;
  SHARDORA_CHECK(MPI_Allreduce(MPI_IN_PLACE, &hosts, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
  std::unique_ptr<Gossip> gossip;
  if (hosts > 1 && threads == MPI_THREAD_MULTIPLE) gossip = std::make_unique<Gossip>(MPI_COMM_WORLD, remote);
  const std::lock_guard lock(impl_->mutex);
  impl_->gossip = std::move(gossip);
  impl_->mpi_up = true;
}

void Watchdog::mpi_ends() {
  if (!impl_) return;
  const std::lock_guard lock(impl_->mutex);
  impl_->mpi_up = false;
  impl_->gossip.reset();
}

void Watchdog::before_end(Action action) {
  if (!impl_) return;
  const std::lock_guard lock(impl_->mutex);
  impl_->action = std::move(action);
}

}  // namespace shardora
