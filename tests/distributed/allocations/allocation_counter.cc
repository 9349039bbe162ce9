// malloc and its family as this program defines them come before libc's for every library. operator new ends here too.
#include "tests/distributed/allocations/allocation_counter.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): glibc's own names for what is counted here
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
// NOLINTEND(bugprone-reserved-identifier)
}

namespace shardora::allocations {
namespace {

struct Record {
  std::array<void*, 16> frames;
  int count;
};
constexpr int kMostRecords = 1 << 17;
Record records[kMostRecords];  // more are counted, not named
std::atomic<int> recorded = 0;
std::atomic<bool> counting = false;
thread_local bool inside = false;  // backtrace() may allocate itself

void note() {
  if (!counting.load(std::memory_order_relaxed) || inside) return;
  inside = true;
  const int index = recorded.fetch_add(1);
  if (index < kMostRecords) {
    Record& record = records[index];
    record.count = backtrace(record.frames.data(), static_cast<int>(record.frames.size()));
  }
  inside = false;
}

std::string demangled(const char* symbol) {
  int status = 0;
  char* const text = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
  std::string name = status == 0 ? text : symbol;
  std::free(text);
  return name.substr(0, name.find('('));
}

// The function that this address lies in; empty where it has no exported name (a static one lies between two).
std::string function_of(void* address) {
  Dl_info info{};
  ElfW(Sym)* symbol = nullptr;
  if (dladdr1(address, &info, reinterpret_cast<void**>(&symbol), RTLD_DL_SYMENT) == 0) return {};
  if (info.dli_sname == nullptr || symbol == nullptr) return {};
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  return offset < symbol->st_size ? demangled(info.dli_sname) : std::string();
}

std::string object_of(void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "?";
  const std::string path = info.dli_fname;
  return path.substr(path.find_last_of('/') + 1);
}

bool starts_with_any(const std::string& text, std::initializer_list<const char*> beginnings) {
  for (const char* beginning : beginnings) {
    if (text.starts_with(beginning)) return true;
  }
  return false;
}

// The frames of note() and malloc come first, then perhaps the language's library, then who asked. OpenMP's threads are
// somebody's too: whose number of threads is not the one before pays for a new team.
std::string origin_of(const Record& record) {
  std::string prefix;
  const std::string program = object_of(reinterpret_cast<void*>(&note));
  for (int i = 2; i < record.count; ++i) {
    void* const address = record.frames[static_cast<std::size_t>(i)];
    const std::string object = object_of(address);
    if (starts_with_any(object, {"libc.so", "libstdc++", "libgcc_s", "ld-linux"})) continue;
    if (object.starts_with("libgomp")) {
      prefix = "OpenMP for ";
      continue;
    }
    if (object != program) return prefix + object;
    const std::string function = function_of(address);
    if (function.find("shardora::") != std::string::npos && !function.starts_with("std::")) return prefix + function;
  }
  return prefix + "?";
}

}  // namespace

void start() {
  void* warm[4];
  backtrace(warm, 4);  // loads its library
  recorded = 0;
  counting = true;
}

std::map<std::string, int> stop() {
  counting = false;
  std::map<std::string, int> origins;
  const int kept = std::min<int>(recorded, kMostRecords);
  for (int i = 0; i < kept; ++i) ++origins[origin_of(records[i])];
  if (recorded > kept) origins["beyond the table"] = recorded - kept;
  return origins;
}

}  // namespace shardora::allocations

extern "C" {

void* malloc(std::size_t bytes) {
  shardora::allocations::note();
  return __libc_malloc(bytes);
}

void* calloc(std::size_t count, std::size_t bytes) {
  shardora::allocations::note();
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, std::size_t bytes) {
  shardora::allocations::note();
  return __libc_realloc(memory, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) {
  shardora::allocations::note();
  return __libc_memalign(alignment, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  shardora::allocations::note();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  shardora::allocations::note();
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}
