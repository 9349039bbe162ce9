#include "runtime/comm/nccl_library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "kernels/check.h"

namespace shardora::nccl {
namespace {

constexpr const char* kRemedy =
    "install NCCL (package libnccl2), name the library in SHARDORA_NCCL_LIBRARY, or set parallel.communicator = host";

// Up to 2.8 versions were counted in thousands.
std::string version_text(int version) {
  const int major = version < 10000 ? 1000 : 10000;
  return fmt::format("{}.{}.{}", version / major, version % major / 100, version % 100);
}

template <class Function>
void find(void* library, const std::string& path, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function != nullptr) return;
  refuse(ExitStatus::kUnavailable, "NCCL: found {} without {}, needed NCCL {} or newer; {}", path, name,
         version_text(kOldestVersion), kRemedy);
}

}  // namespace

std::string Library::description() const { return "NCCL " + version_text(version); }

std::string library_path() {
  const char* const path = std::getenv("SHARDORA_NCCL_LIBRARY");
  return path == nullptr ? "" : path;
}

Library load(const std::string& path) {
  Library nccl{.path = path.empty() ? "libnccl.so.2" : path};
  void* const library = dlopen(nccl.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = dlerror();
    refuse(ExitStatus::kUnavailable, "NCCL: found none ({}), needed {} or newer; {}", why == nullptr ? nccl.path : why,
           version_text(kOldestVersion), kRemedy);
  }
  Result (*get_version)(int*) = nullptr;
  find(library, nccl.path, "ncclGetVersion", get_version);
  if (get_version(&nccl.version) != Result::kSuccess || nccl.version < kOldestVersion) {
    refuse(ExitStatus::kUnavailable, "NCCL: found {} in {}, needed {} or newer; {}", version_text(nccl.version),
           nccl.path, version_text(kOldestVersion), kRemedy);
  }
  find(library, nccl.path, "ncclGetUniqueId", nccl.get_unique_id);
  find(library, nccl.path, "ncclCommInitRankConfig", nccl.init_rank);
  find(library, nccl.path, "ncclCommFinalize", nccl.finalize);
  find(library, nccl.path, "ncclCommDestroy", nccl.destroy);
  find(library, nccl.path, "ncclCommAbort", nccl.abort);
  find(library, nccl.path, "ncclCommGetAsyncError", nccl.async_error);
  find(library, nccl.path, "ncclGetErrorString", nccl.error_string);
  find(library, nccl.path, "ncclGetLastError", nccl.last_error);
  find(library, nccl.path, "ncclAllReduce", nccl.all_reduce);
  find(library, nccl.path, "ncclBroadcast", nccl.broadcast);
  return nccl;
}

}  // namespace shardora::nccl
