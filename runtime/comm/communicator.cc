#include "runtime/comm/communicator.h"

namespace shardora {

double Communicator::all_reduce(double value, Reduction reduction) {
  all_reduce(view_of(std::span(&value, 1), {1}), reduction, Event{});
  return value;
}

std::int64_t Communicator::all_reduce(std::int64_t value, Reduction reduction) {
  all_reduce(view_of(std::span(&value, 1), {1}), reduction, Event{});
  return value;
}

std::string Communicator::broadcast(const std::string& text, int root) {
  auto length = static_cast<std::int64_t>(text.size());
  broadcast(view_of(std::span(&length, 1), {1}), root, Event{});
  std::string result = rank() == root ? text : std::string(static_cast<std::size_t>(length), '\0');
  broadcast(TensorView{result.data(), DType::kU8, {length}}, root, Event{});
  return result;
}

}  // namespace shardora
