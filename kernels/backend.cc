// Choosing a backend, and the owner of its memory.
#include "kernels/backend.h"

#include <utility>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/level.h"
#include "kernels/rehearsal.h"

namespace shardora {

std::unique_ptr<Backend> make_backend(BackendKind kind, const BackendOptions& options) {
  switch (kind) {
    case BackendKind::kCpu:
      return cpu::make_backend(options);
    case BackendKind::kCuda:
      refuse(ExitStatus::kUnavailable, "device cuda: this program was built without CUDA; use device cpu");
    case BackendKind::kRehearsal:
      return make_rehearsal_backend();
  }
  contract_broken("known BackendKind", std::source_location::current());
}

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
