#include "runtime/run/background_write.h"

#include <pthread.h>

#include <utility>

namespace shardora {
namespace {

timespec time_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);  // where the thread has ended, the time stands still
  return time;
}

}  // namespace

void BackgroundWrite::start(std::function<double()> write) {
  std::promise<clockid_t> clock;
  clock_ = clock.get_future().share();
  result_ = std::async(std::launch::async, [clock = std::move(clock), write = std::move(write)]() mutable {
    clockid_t own = CLOCK_PROCESS_CPUTIME_ID;
    pthread_getcpuclockid(pthread_self(), &own);
    clock.set_value(own);
    return write();
  });
}

bool BackgroundWrite::ended() const {
  return pending() && result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

double BackgroundWrite::wait(const std::function<void()>& works, std::chrono::milliseconds interval) {
  const clockid_t clock = clock_.get();
  timespec before = time_of(clock);
  while (result_.wait_for(interval) != std::future_status::ready) {
    const timespec now = time_of(clock);
    if (now.tv_sec != before.tv_sec || now.tv_nsec != before.tv_nsec) works();
    before = now;
  }
  return result_.get();
}

}  // namespace shardora
