#include "runtime/comm/agreement.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>
#include <sstream>
#include <system_error>

namespace shardora {
namespace {

Failure run(const std::function<void()>& phase) {
  try {
    phase();
    return {};
  } catch (...) {
    return current_failure();
  }
}

// "<length of the name> <length of the value> <name><value>" for each field.
std::string packed(const Fingerprint& fields) {
  std::string text;
  for (const auto& [name, value] : fields) text += fmt::format("{} {} {}{}", name.size(), value.size(), name, value);
  return text;
}

Fingerprint unpacked(const std::string& text) {
  std::istringstream stream(text);
  Fingerprint fields;
  for (std::size_t name = 0, value = 0; stream >> name >> value;) {
    stream.get();  // the space
    auto& field = fields.emplace_back(std::string(name, ' '), std::string(value, ' '));
    for (std::string* part : {&field.first, &field.second}) {
      stream.read(part->data(), static_cast<std::streamsize>(part->size()));
    }
  }
  return fields;
}

std::string value_of(const Fingerprint& fields, const std::string& name) {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return "(nothing)";
}

// Of a value of many lines (a configuration) the first line that differs from the other's.
std::string first_difference(const std::string& value, const std::string& other) {
  const auto differs = std::mismatch(value.begin(), value.end(), other.begin(), other.end()).first;
  const auto at = static_cast<std::size_t>(differs - value.begin());
  const std::size_t before = at == 0 ? std::string::npos : value.rfind('\n', at - 1);
  const std::size_t start = before == std::string::npos ? 0 : before + 1;
  const std::string line = value.substr(start, value.find('\n', start) - start);
  constexpr std::size_t kReadable = 200;
  return line.size() <= kReadable ? line : line.substr(0, kReadable) + "…";
}

// Every name that any rank gives, in the order of the first to give it.
std::vector<std::string> all_names(const std::vector<Fingerprint>& ranks) {
  std::vector<std::string> names;
  for (const Fingerprint& fields : ranks) {
    for (const auto& [name, value] : fields) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

// The first field whose value is not rank 0's on every rank; empty where all agree.
std::string first_disagreement(const std::vector<Fingerprint>& ranks) {
  for (const std::string& name : all_names(ranks)) {
    const std::string expected = value_of(ranks[0], name);
    std::string others, sample;
    for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
      const std::string value = value_of(ranks[rank], name);
      if (value == expected) continue;
      if (others.empty()) sample = value;
      others += fmt::format("{}{}", others.empty() ? "" : ", ", rank);
    }
    if (others.empty()) continue;
    return fmt::format(
        "ranks disagree on {}: rank 0 has '{}', rank {} '{}' (different: rank {}); start every rank with the same "
        "program, configuration and files",
        name, first_difference(expected, sample), others.substr(0, others.find(',')),
        first_difference(sample, expected), others);
  }
  return {};
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.status(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ExitStatus::kOutOfMemory, "out of host memory"};
  } catch (const std::filesystem::filesystem_error& error) {
    return {ExitStatus::kIo, error.what()};
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) return {ExitStatus::kIo, "standard output: " + error.code().message()};
    if (error.code() != std::errc::resource_unavailable_try_again) return {ExitStatus::kInternal, error.what()};
    return {ExitStatus::kOutOfMemory,
            "no memory, or no process number, is left for a thread: see ulimit -v and ulimit -u"};
  } catch (const std::exception& error) {
    return {ExitStatus::kInternal, error.what()};
  } catch (...) {
    return {ExitStatus::kInternal, "an exception without a message"};
  }
}

void agree(Communicator& world, const std::function<void()>& phase) {
  const Failure mine = run(phase);
  // One number says both who failed first and how: the lowest rank wins, whatever its status.
  constexpr std::int64_t kStatuses = 256;
  const std::int64_t nobody = world.size() * kStatuses;
  const std::int64_t vote =
      mine.status == ExitStatus::kDone ? nobody : world.rank() * kStatuses + static_cast<int>(mine.status);
  const std::int64_t lowest = world.all_reduce(vote, Reduction::kMin);
  if (lowest == nobody) return;
  const bool speaker = lowest / kStatuses == world.rank();
  throw AgreedError(static_cast<ExitStatus>(lowest % kStatuses), speaker ? mine.message : std::string());
}

std::string first_text(Communicator& world, const std::string& mine) {
  const std::int64_t rank = world.all_reduce(std::int64_t{mine.empty() ? world.size() : world.rank()}, Reduction::kMin);
  return rank == world.size() ? std::string() : world.broadcast(mine, static_cast<int>(rank));
}

void require_agreement(Communicator& world, const Fingerprint& fields) {
  std::vector<Fingerprint> ranks;
  for (const std::string& text : world.gather_text(packed(fields))) ranks.push_back(unpacked(text));
  const std::string message = world.rank() == 0 ? first_disagreement(ranks) : std::string();
  const std::int64_t agreed = world.all_reduce(std::int64_t{message.empty()}, Reduction::kMin);
  if (agreed == 0) throw AgreedError(ExitStatus::kMismatch, message);
}

}  // namespace shardora
