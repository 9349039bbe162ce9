// Two sinks at most: standard error for rank 0, a file for every rank. Both belong to this object, not to spdlog's
// registry. A line that cannot be written is lost rather than ending the run: spdlog reports and goes on.
#include "runtime/observe/log.h"

#include <fmt/core.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "kernels/check.h"

namespace shardora {

struct Log::Impl {
  spdlog::logger logger{"shardora"};
  std::mutex mutex;
  std::set<std::string, std::less<>> warned;
};

Log::Log(int rank, bool quiet) : rank_(rank), quiet_(quiet), impl_(std::make_unique<Impl>()) {
  impl_->logger.set_level(spdlog::level::debug);
  impl_->logger.flush_on(spdlog::level::trace);
  if (rank_ != 0) return;
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  // On a terminal a progress line may stand here: it is wiped first.
  sink->set_pattern(isatty(STDERR_FILENO) == 1 ? "\r\033[Kshardora: %v" : "shardora: %v");
  sink->set_level(quiet_ ? spdlog::level::warn : spdlog::level::info);
  impl_->logger.sinks().push_back(std::move(sink));
}

Log::~Log() = default;

void Log::to_file(const std::filesystem::path& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %v");
    impl_->logger.sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& failure) {
    refuse(ExitStatus::kIo, "log file {}: {}", path.string(), failure.what());
  }
}

void Log::info(std::string_view text) { impl_->logger.info("[rank {}] {}", rank_, text); }

void Log::warn(std::string_view text) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (!impl_->warned.emplace(text).second) return;
  }
  impl_->logger.warn("[rank {}] warning: {}", rank_, text);
}

void Log::note(std::string_view text) { impl_->logger.debug("[rank {}] {}", rank_, text); }

}  // namespace shardora
