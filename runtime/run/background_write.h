// A write that goes on in a thread of its own while training does.
#pragma once

#include <chrono>
#include <ctime>
#include <functional>
#include <future>

namespace shardora {

class BackgroundWrite {
 public:
  // One at a time: the one before must have been waited for. `write` calls no MPI and returns its seconds.
  void start(std::function<double()> write);
  bool pending() const { return result_.valid(); }  // started, and not yet waited for
  bool ended() const;                               // pending, and wait() would not block
  // The seconds, or the error. Meanwhile `works` is called at each interval in which the thread did something: one that
  // stands still, in a dead file system, is no progress.
  double wait(const std::function<void()>& works, std::chrono::milliseconds interval = std::chrono::seconds(1));

 private:
  std::future<double> result_;
  std::shared_future<clockid_t> clock_;  // of the thread's own time
};

}  // namespace shardora
