#include "kernels/emulation/emulation.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace shardora::emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr int kLanes = 32;
constexpr unsigned char kPoison = 0xFF;  // a NaN in every floating type

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

struct Fiber {
  Thread thread;
  ucontext_t context{};
  std::byte* stack = nullptr;
  void* fake_stack = nullptr;  // the address sanitizer's
  int number = 0;
  bool finished = false;
  std::vector<Copy> copies;
};

// An exchange of values that is being gathered.
struct Exchange {
  std::array<std::uint64_t, kLanes> values{};
  unsigned arrived = 0, left = 0;
  std::vector<Fiber*> waiting;
};

// The lanes of a warp that call with one mask. Two exchanges: a lane may be one ahead of the slowest.
struct Party {
  std::array<Exchange, 2> exchanges;
  std::array<unsigned, kLanes> calls{};
};
using Warp = std::map<unsigned, Party>;  // by mask

class BlockRun {
 public:
  BlockRun(const Block& place, std::size_t shared_bytes, const std::function<void()>& body, std::mt19937_64& order)
      : block(place),
        body_(body),
        order_(order),
        patience_(order() % 2 == 0 ? 1 : 1024),
        dynamic_(poisoned(shared_bytes)) {
    const unsigned count = block.threads.x * block.threads.y * block.threads.z;
    fibers_.resize(count);
    warps_.resize((count + kLanes - 1) / kLanes);
    runnable_.resize(warps_.size());
    for (unsigned i = 0; i < count; ++i) start(fibers_[i], i);
  }
  ~BlockRun();

  void run() {
    while (Fiber* const next = pick()) enter(*next);
    for (const Fiber& fiber : fibers_) {
      if (!fiber.finished) {
        throw std::logic_error("emulated block: a thread waits at a barrier or shuffle that others never reach");
      }
    }
  }

  void* array(std::type_index place, std::size_t bytes) {
    std::unique_ptr<std::byte[]>& memory = arrays_[place];
    if (!memory) memory = poisoned(bytes);
    return memory.get();
  }
  void* dynamic() { return dynamic_.get(); }

  void barrier() {
    if (++at_barrier_ < fibers_.size()) {
      barrier_waiting_.push_back(current_);
      return pause();
    }
    at_barrier_ = 0;
    release(barrier_waiting_);
  }

  std::uint64_t exchange(unsigned mask, std::uint64_t mine, int source) {
    const auto lane = static_cast<std::size_t>(current_->number % kLanes);
    if ((mask >> lane & 1U) == 0) throw std::logic_error("emulated shuffle: a lane calls that its mask leaves out");
    Party& party = warps_[static_cast<std::size_t>(current_->number / kLanes)][mask];
    Exchange& here = party.exchanges[party.calls[lane]++ % 2];
    here.values[lane] = mine;
    here.arrived |= 1U << lane;
    if (here.arrived != mask) {
      here.waiting.push_back(current_);
      pause();
    } else {
      release(here.waiting);
    }
    if (source < 0 || source >= kLanes || (mask >> source & 1U) == 0) {
      throw std::logic_error("emulated shuffle: reads a lane that does not call");
    }
    const std::uint64_t value = here.values[static_cast<std::size_t>(source)];
    here.left |= 1U << lane;
    if (here.left == mask) here.arrived = here.left = 0;
    return value;
  }

  Fiber* current() { return current_; }
  Block block;

 private:
  static std::unique_ptr<std::byte[]> poisoned(std::size_t bytes) {
    std::unique_ptr<std::byte[]> memory(new std::byte[bytes]);
    std::memset(memory.get(), kPoison, bytes);
    return memory;
  }
  static std::vector<std::byte*>& free_stacks() {
    static std::vector<std::byte*> stacks;
    return stacks;
  }
  void start(Fiber& fiber, unsigned number);
  static void main_of_fiber();
  void body_of_fiber();
  void enter(Fiber& fiber);
  void pause();
  void make_runnable(Fiber* fiber) { runnable_[static_cast<std::size_t>(fiber->number / kLanes)].push_back(fiber); }
  void release(std::vector<Fiber*>& waiting) {
    for (Fiber* const fiber : waiting) make_runnable(fiber);
    waiting.clear();
  }
  // Any fiber of the favourite warp, null where none of the block can run. In every second block the favourite stays
  // one for long, so that others are left far behind: what they have still to read is overwritten where a barrier is
  // missing.
  Fiber* pick() {
    if (order_() % patience_ == 0) favourite_ = order_() % runnable_.size();
    for (std::size_t tried = 0; runnable_[favourite_].empty(); favourite_ = (favourite_ + 1) % runnable_.size()) {
      if (++tried > runnable_.size()) return nullptr;
    }
    std::vector<Fiber*>& lanes = runnable_[favourite_];
    std::swap(lanes[order_() % lanes.size()], lanes.back());
    Fiber* const fiber = lanes.back();
    lanes.pop_back();
    return fiber;
  }

  const std::function<void()>& body_;
  std::mt19937_64& order_;
  std::uint64_t patience_;
  std::unique_ptr<std::byte[]> dynamic_;
  std::map<std::type_index, std::unique_ptr<std::byte[]>> arrays_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<std::vector<Fiber*>> runnable_;  // by warp
  std::vector<Fiber*> barrier_waiting_;
  std::size_t favourite_ = 0;
  std::size_t at_barrier_ = 0;
  Fiber* current_ = nullptr;
  ucontext_t scheduler_{};
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;  // the address sanitizer's
  [[maybe_unused]] std::size_t scheduler_stack_bytes_ = 0;
  std::exception_ptr failure_;
};

BlockRun* running = nullptr;
std::mt19937_64 order(1);

void BlockRun::start(Fiber& fiber, unsigned number) {
  fiber.number = static_cast<int>(number);
  fiber.thread.index = {number % block.threads.x, number / block.threads.x % block.threads.y,
                        number / (block.threads.x * block.threads.y)};
  if (free_stacks().empty()) {
    void* const memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHARDORA_CHECK(memory != MAP_FAILED);
    free_stacks().push_back(static_cast<std::byte*>(memory));
  }
  fiber.stack = free_stacks().back();
  free_stacks().pop_back();
  SHARDORA_CHECK(getcontext(&fiber.context) == 0);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, main_of_fiber, 0);
  make_runnable(&fiber);
}

BlockRun::~BlockRun() {
  for (const Fiber& fiber : fibers_) free_stacks().push_back(fiber.stack);
}

void BlockRun::main_of_fiber() { running->body_of_fiber(); }

void BlockRun::body_of_fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  try {
    body_();
  } catch (...) {  // must not leave the fiber's stack
    failure_ = std::current_exception();
  }
  current_->finished = true;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_stack_bytes_);
#endif
  setcontext(&scheduler_);
}

void BlockRun::enter(Fiber& fiber) {
  current_ = &fiber;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber.stack, kStackBytes);
#endif
  swapcontext(&scheduler_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  if (failure_) std::rethrow_exception(failure_);
}

void BlockRun::pause() {
  Fiber* const self = current_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&self->fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
  swapcontext(&self->context, &scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
}

}  // namespace

const Thread& this_thread() { return running->current()->thread; }
const Block& this_block() { return running->block; }
void* block_array(std::type_index place, std::size_t bytes) { return running->array(place, bytes); }
void* dynamic_shared() { return running->dynamic(); }
void block_barrier() { running->barrier(); }
std::uint64_t exchange(unsigned mask, std::uint64_t mine, int source) { return running->exchange(mask, mine, source); }
void warp_barrier(unsigned mask) {
  const int lane = running->current()->number % kLanes;
  running->exchange(mask, 0, lane);
}
void copy_later(void* to, const void* from, std::size_t bytes) {
  running->current()->copies.push_back({to, from, bytes});
}
void finish_copies() {
  for (const Copy& copy : running->current()->copies) std::memcpy(copy.to, copy.from, copy.bytes);
  running->current()->copies.clear();
}
void set_seed(std::uint64_t seed) { order.seed(seed); }

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  std::vector<uint3> blocks;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) blocks.push_back({x, y, z});
    }
  }
  std::shuffle(blocks.begin(), blocks.end(), order);
  for (const uint3& index : blocks) {
    BlockRun block_run({index, block, grid}, shared_bytes, body, order);
    running = &block_run;
    block_run.run();
    running = nullptr;
  }
}

}  // namespace shardora::emulation
