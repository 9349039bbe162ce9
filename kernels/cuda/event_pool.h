// Events that are made once and used again and again: a step makes none.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/platform.h"

namespace shardora::cuda {

class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  EventPool() = default;
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool();
  Event record(cudaStream_t stream);  // comes back to the pool with the last copy of the Event

 private:
  std::vector<cudaEvent_t> free_;
};

// The event's, or nullptr where it has passed already.
inline cudaEvent_t event_handle(const Event& event) { return static_cast<cudaEvent_t>(event.handle.get()); }

}  // namespace shardora::cuda
