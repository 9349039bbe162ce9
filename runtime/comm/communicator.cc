#include "runtime/comm/communicator.h"

#include <chrono>
#include <thread>

namespace shardora {

double Communicator::all_reduce(double value, Reduction reduction) {
  host().all_reduce(view_of(std::span(&value, 1), {1}), reduction, Event{});
  return value;
}

std::int64_t Communicator::all_reduce(std::int64_t value, Reduction reduction) {
  host().all_reduce(view_of(std::span(&value, 1), {1}), reduction, Event{});
  return value;
}

std::string Communicator::broadcast(const std::string& text, int root) {
  auto length = static_cast<std::int64_t>(text.size());
  host().broadcast(view_of(std::span(&length, 1), {1}), root, Event{});
  std::string result = rank() == root ? text : std::string(static_cast<std::size_t>(length), '\0');
  host().broadcast(TensorView{result.data(), DType::kU8, {length}}, root, Event{});
  return result;
}

std::vector<std::string> Communicator::gather_text(const std::string& mine) {
  std::vector<std::string> all;
  for (const auto& bytes : gather(std::as_bytes(std::span(mine)), 0)) {
    all.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return all;
}

void wait_on_host(Backend& backend, const Event& event, std::span<Communicator* const> groups) {
  constexpr auto kBetweenLooks = std::chrono::microseconds(20);
  while (!backend.passed(event)) {
    for (Communicator* group : groups) group->check(true);
    std::this_thread::sleep_for(kBetweenLooks);
  }
  for (Communicator* group : groups) group->check(false);
}

}  // namespace shardora
