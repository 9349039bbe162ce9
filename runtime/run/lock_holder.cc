// Who holds an output folder, as text for run.lock and for people, and as seen in /proc.
#include "runtime/run/lock_holder.h"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

using Json = nlohmann::ordered_json;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

Holder this_process() {
  Holder holder;
  holder.host = host_name();
  holder.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  holder.job = environment("SLURM_JOB_ID", "none");
  holder.process = getpid();
  holder.process_start = process_stat(getpid()).start;
  holder.restart_count = std::atoll(environment("SLURM_RESTART_COUNT", "0").c_str());
  holder.started = std::time(nullptr);
  return holder;
}

std::string to_text(const Holder& holder) {
  return Json{{"host", holder.host},
              {"process", holder.process},
              {"process_start", holder.process_start},
              {"boot_id", holder.boot_id},
              {"job", holder.job},
              {"restart_count", holder.restart_count},
              {"started", holder.started},
              {"heartbeat", holder.heartbeat}}
             .dump() +
         '\n';
}

std::optional<Holder> parse_holder(std::string_view text) {
  constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kEndOfYear9999 = 253'402'300'799;  // later ones cannot be told
  try {
    const Json value = parse_json(text, "run.lock");
    const JsonFields fields(value, "run.lock");
    return Holder{.host = fields.text("host"),
                  .boot_id = fields.text("boot_id"),
                  .job = fields.text("job"),
                  .process = fields.integer("process", 1, kHighest),
                  .process_start = fields.integer("process_start", -1, kHighest),
                  .restart_count = fields.integer("restart_count", kLowest, kHighest),
                  .started = fields.integer("started", 0, kEndOfYear9999),
                  .heartbeat = fields.has("heartbeat") ? fields.integer("heartbeat", 0, kHighest) : 0};
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string describe(const Holder& holder) {
  const std::string job = holder.job == "none" ? "" : fmt::format(" (job {})", printable(holder.job));
  return fmt::format("process {} on host {}{}, since {:%Y-%m-%d %H:%M:%S} UTC", holder.process, printable(holder.host),
                     job, fmt::gmtime(static_cast<std::time_t>(holder.started)));
}

bool is_earlier_start(const Holder& holder, const Holder& me) {
  return holder.job != "none" && holder.job == me.job && holder.restart_count < me.restart_count;
}

bool may_still_run(const Holder& holder, const Holder& me) {
  if (is_earlier_start(holder, me)) return false;
  if (holder.host != me.host) return true;  // not to be seen from here
  return holder.boot_id == me.boot_id && process_stat(holder.process).start == holder.process_start;
}

}  // namespace shardora
