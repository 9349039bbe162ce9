#include "runtime/comm/host_staged_communicator.h"

#include <algorithm>

#include "kernels/float_types.h"

namespace shardora {

HostStagedCommunicator::HostStagedCommunicator(Backend& backend, Communicator& host, std::int64_t piece_bytes)
    : DeviceCommunicator(host), backend_(backend), piece_bytes_(piece_bytes) {
  SHARDORA_CHECK(piece_bytes > 0 && piece_bytes % 8 == 0);
  if (size() == 1) return;
  for (auto& buffer : buffers_) buffer = {backend_.allocate_host(piece_bytes_), Release{&backend_}};
}

Event HostStagedCommunicator::all_reduce(TensorView values, Reduction reduction, const Event& after) {
  return stage(values, true, true, after, [&](TensorView piece) {
    if (piece.dtype == DType::kBF16) return all_reduce_bf16(piece, reduction);
    host().all_reduce(piece, reduction, {});
  });
}

Event HostStagedCommunicator::broadcast(TensorView values, int root, const Event& after) {
  SHARDORA_CHECK(root >= 0 && root < size());
  const bool gives = rank() == root;
  return stage(values, gives, !gives, after, [&](TensorView piece) { host().broadcast(piece, root, {}); });
}

// Calls exchange(piece) on the host for each piece in order; `down` and `up` say which ways this rank's memory is
// copied. A buffer is written by the device only after what it gave to the device before has left it: both are copies
// on the backend's one queue, in this order. The host writes it only after the copy down has passed, which came later
// still.
template <class Exchange>
Event HostStagedCommunicator::stage(TensorView values, bool down, bool up, const Event& after,
                                    const Exchange& exchange) {
  if (size() == 1 || values.bytes() == 0) return after;
  const std::int64_t element = size_bytes(values.dtype), longest = piece_bytes_ / element;
  const std::int64_t total = values.elements(), pieces = (total + longest - 1) / longest;
  const auto on_device = [&](std::int64_t k) {
    return values.reshaped({total}).rows(k * longest, std::min(longest, total - k * longest));
  };
  const auto on_host = [&](std::int64_t k) {
    return TensorView{buffers_[static_cast<std::size_t>(k % 2)].get(), values.dtype, on_device(k).shape};
  };
  std::array<Event, 2> fetched;
  const auto fetch = [&](std::int64_t k) {
    if (down) backend_.copy_to_host(on_host(k), on_device(k));
    fetched[static_cast<std::size_t>(k % 2)] = backend_.record();
  };
  backend_.wait(after);
  fetch(0);
  for (std::int64_t k = 0; k < pieces; ++k) {
    if (k + 1 < pieces) fetch(k + 1);
    backend_.wait_on_host(fetched[static_cast<std::size_t>(k % 2)]);
    exchange(on_host(k));
    if (up) backend_.copy_from_host(on_device(k), on_host(k));
  }
  return backend_.record();
}

void HostStagedCommunicator::all_reduce_bf16(TensorView piece, Reduction reduction) {
  const auto values = std::span(static_cast<std::uint16_t*>(piece.data), static_cast<std::size_t>(piece.elements()));
  wide_.resize(static_cast<std::size_t>(piece_bytes_ / size_bytes(DType::kBF16)));  // once
  const auto wide = std::span(wide_).first(values.size());
  std::transform(values.begin(), values.end(), wide.begin(), [](std::uint16_t bits) { return float_from_bf16(bits); });
  host().all_reduce(view_of(wide, piece.shape), reduction, {});
  std::transform(wide.begin(), wide.end(), values.begin(), [](float value) { return bf16_from_float(value); });
}

}  // namespace shardora
