// Finds what has changed by itself in weights that are frozen: a checksum of each is taken when they are loaded, and
// compared at any time. A tensor that is kept twice (for either direction of the products) is two.
#pragma once

#include <vector>

#include "runtime/model/decoder.h"

namespace shardora {

class FrozenGuard {
 public:
  // Nothing is owned. Without weights that are frozen, nothing is ever found.
  FrozenGuard(Backend& backend, Decoder& decoder);
  // Throws Error(kCorruption) naming the tensor. Collective in nothing: each rank's weights are its own.
  void check(int rank) const;
  std::int64_t bytes() const;  // that a check reads

 private:
  struct Guarded {
    Decoder::FrozenBytes weight;
    std::uint64_t checksum = 0;
  };
  Backend& backend_;
  std::vector<Guarded> all_;
};

}  // namespace shardora
