#include "runtime/train/frozen_guard.h"

#include "kernels/checksum.h"

namespace shardora {

FrozenGuard::FrozenGuard(Backend& backend, Decoder& decoder) : backend_(backend) {
  for (Decoder::FrozenBytes& weight : decoder.frozen_bytes()) {
    const std::uint64_t sum = checksum_words(backend_, weight.bytes);
    all_.push_back({std::move(weight), sum});
  }
}

void FrozenGuard::check(int rank) const {
  for (const Guarded& guarded : all_) {
    const std::uint64_t now = checksum_words(backend_, guarded.weight.bytes);
    if (now == guarded.checksum) continue;
    refuse(ExitStatus::kCorruption,
           "frozen tensor {} has changed in the memory of rank {} (checksum {:016x} when loaded, {:016x} now): nothing "
           "was saved since the last check that passed; resume from the last checkpoint on another machine, and look "
           "at this one's memory",
           guarded.weight.name, rank, guarded.checksum, now);
  }
}

std::int64_t FrozenGuard::bytes() const {
  std::int64_t total = 0;
  for (const Guarded& guarded : all_) total += guarded.weight.bytes.bytes();
  return total;
}

}  // namespace shardora
