// The owner of a backend's memory, and what the CPU offers.
#include "kernels/backend.h"

#include <utility>

#include "kernels/cpu/level.h"

namespace shardora {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const cpu::Level* level : cpu::supported_levels()) names.emplace_back(level->name);
  return names;
}

DeviceBuffer::DeviceBuffer(Backend& backend, std::int64_t bytes)
    : backend_(&backend), data_(backend.allocate(bytes)), bytes_(bytes) {}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : backend_(std::exchange(other.backend_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(backend_, other.backend_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (backend_ != nullptr) backend_->release(data_);
}

}  // namespace shardora
