// What a checkpoint holds beside the adapter: AdamW's moments and the counters, as full logical tensors, so that any
// ranks x tensor split resumes it to the bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/run/counters.h"
#include "runtime/session/loaded_model.h"

namespace shardora {

// m as the run began with it, this rank's shards, by index into the parameter set: what magnitude drift is measured
// against.
using InitialMagnitudes = std::map<std::size_t, std::vector<float>>;
InitialMagnitudes read_magnitudes(Backend& backend, const ParameterSet& parameters);

// Collective over the tensor group; complete on tensor rank 0.
TensorMap gather_state(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                       const ParameterSet& parameters, const InitialMagnitudes& initial);
void write_state(const std::filesystem::path& file, const TensorMap& state, const Counters& counters);
// Each rank reads the file and keeps its shards. Throws Error(kMismatch) where tensors are missing or misshapen, and
// what read_counters does.
Counters load_state(const std::filesystem::path& file, Backend& backend, ParameterSet& parameters,
                    InitialMagnitudes& initial);

}  // namespace shardora
