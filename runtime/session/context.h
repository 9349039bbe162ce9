// What every command is given: backend, ranks, log, signals. Nothing is owned.
#pragma once

#include <atomic>
#include <string>

#include "runtime/comm/process_grid.h"
#include "runtime/observe/log.h"
#include "runtime/options.h"
#include "runtime/watchdog/watchdog.h"

namespace shardora {

struct Context {
  Backend& backend;
  const ProcessGrid& grid;
  Log& log;
  const std::atomic<bool>& stop_requested;  // set by a signal handler
  std::string resolved_config;              // text of config.resolved.cfg
  int ranks_on_host = 1;                    // they share its memory
  int ranks_on_device = 1;                  // and that of a device, where they were asked to
  Watchdog* watchdog = nullptr;             // null: none

  // What this rank does from now on ("step 12"), for the report of a peer that waits for it. Not collective.
  void set_activity(std::string_view activity) const {
    if (watchdog != nullptr) watchdog->set_activity(activity);
  }
};

}  // namespace shardora
