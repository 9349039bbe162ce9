#include "runtime/comm/watchdog.h"

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
#include "runtime/comm/gossip.h"
#include "runtime/comm/host_board.h"
#include "runtime/comm/mpi_check.h"
#include "runtime/comm/stall.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr double kPatienceIntervals = 3;  // with the lower ranks, whose report it is
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

// A full disk must not keep the job from ending.
template <class Action>
void attempt(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "shardora: %s\n", error.what());
  }
}

std::string to_text(const std::vector<Collective>& calls) {
  std::string text = "the last collectives of this rank:";
  const double time = monotonic_seconds();
  for (const Collective& call : calls) {
    text += fmt::format("\n  {} group #{}: {}, {}, entered {:.3f} s ago, {}",
                        kGroupNames[static_cast<std::size_t>(call.group)], call.sequence, describe(call),
                        call.place.data(), time - call.entered,
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
        ages(views.size(), interval_of(plan)) {
    if (pthread_getcpuclockid(pthread_self(), &main_clock) != 0) main_clock = CLOCK_PROCESS_CPUTIME_ID;
    const char* const here = environment("OMPI_COMM_WORLD_LOCAL_SIZE");
    ranks_here = here != nullptr ? std::atoi(here) : 0;
    record.publish_to(board.mine());
    thread = std::thread([this] { watch(); });
  }

  void watch();
  void note_own_work();
  void exchange_news();
  void look_at_peers();
  StallLimits limits() const;
  void expire(const Stall& stall);
  [[noreturn]] void end_all(const std::string& report, bool speaks);
  bool sleep(double seconds);  // false: asked to end

  const WatchdogPlan plan;
  FlightRecord& record;  // not owned
  const int rank;
  int ranks_here = 0;  // as the launcher says; 0: it does not
  HostBoard board;
  std::vector<RankView> views;
  std::vector<News> news;  // of all ranks; empty on a single host
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

void Watchdog::Impl::watch() {
  const double interval = interval_of(plan);
  do {
    ages.tick(monotonic_seconds());
    board.mine().beat();
    note_own_work();
    exchange_news();
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

// Work that comes by no collective nor micro-batch: reading, sorting, a large product. Waiting inside a collective is
// no work, whatever time of the processor it takes.
void Watchdog::Impl::note_own_work() {
  const std::int64_t total = worked_ns(main_clock);
  const bool moved = total != worked;
  worked = total;
  if (moved && !record.waits()) record.progress();
}

void Watchdog::Impl::exchange_news() {
  const std::lock_guard lock(mutex);  // MPI does not end meanwhile
  if (!gossip) return;
  news.resize(views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const StateSlot& slot = board.slot(static_cast<int>(i));
    if (slot.heartbeat() > 0 && slot.read(news[i].state)) news[i].heartbeat = slot.heartbeat();
  }
  gossip->round(news);
}

void Watchdog::Impl::look_at_peers() {
  int present = 0;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const StateSlot& slot = board.slot(static_cast<int>(i));
    RankView& view = views[i];
    if (slot.read(view.state)) {
      view.known = true;
      ++present;
      ages.see(i, view.state.progress, slot.heartbeat());
    } else if (i < news.size() && news[i].heartbeat > 0) {
      view.known = true;
      view.state = news[i].state;
      ages.see(i, view.state.progress, news[i].heartbeat);
    }
    view.still_seconds = ages.still_seconds(i);
    view.silent_seconds = ages.silent_seconds(i);
  }
  // Who is not on the board of a host that is complete runs on another.
  const bool complete = ranks_here > 0 && present >= ranks_here;
  for (std::size_t i = 0; i < views.size(); ++i) {
    views[i].near = !complete || board.slot(static_cast<int>(i)).heartbeat() > 0;
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
  const std::string report = fmt::format(
      "no progress{} for {:.0f} s: {}; the job ends, and the next start continues from the last checkpoint; look at "
      "that "
      "rank's host and log (a rank that works is never late; parallel.timeout_seconds is the limit)",
      stall.rank >= 0 ? fmt::format(" of rank {}", stall.rank) : std::string(), stall.seconds, stall.why);
  end_all(report, board.claim_report());
}

// Whatever hangs, in a file system or in MPI, the process ends.
void Watchdog::Impl::end_all(const std::string& report, bool speaks) {
  constexpr int kStatus = static_cast<int>(ExitStatus::kStoppedEarly);
  board.forget_name();
  std::thread([this, report, speaks] {
    Action last;
    bool abort = false;
    {
      const std::lock_guard lock(mutex);
      last = action, abort = mpi_up;
    }
    if (speaks) {
      const std::string words = fmt::format("shardora: [rank {}] {}\n", rank, report);
      [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, words.data(), words.size());
      if (last) attempt([&] { last(report, to_text(record.last())); });
    } else {
      std::this_thread::sleep_for(Seconds(kLastSeconds / 4));  // for the one that speaks
    }
    if (abort) MPI_Abort(MPI_COMM_WORLD, kStatus);
    ::_exit(kStatus);
  }).detach();
  std::this_thread::sleep_for(Seconds(speaks ? kLastSeconds : kLastSeconds / 2));
  ::_exit(kStatus);
}

Watchdog::Watchdog(const WatchdogPlan& plan, const Environment& environment, FlightRecord& record) : record_(record) {
  const int ranks = launched_ranks(environment).value_or(1), rank = launched_rank(environment);
  if (plan.seconds <= 0 || ranks <= 1 || rank >= ranks) return;
  impl_ = std::make_unique<Impl>(plan, environment, record, ranks, rank);
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

void Watchdog::mpi_is_up(const std::vector<int>& far) {
  if (!impl_) return;
  impl_->board.forget_name();
  int threads = MPI_THREAD_SINGLE;
  SHARDORA_CHECK(MPI_Query_thread(&threads));
  int hosts = far.empty() ? 1 : 2;
  SHARDORA_CHECK(MPI_Allreduce(MPI_IN_PLACE, &hosts, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
  std::unique_ptr<Gossip> gossip;
  if (hosts > 1 && threads == MPI_THREAD_MULTIPLE) gossip = std::make_unique<Gossip>(MPI_COMM_WORLD, far);
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
