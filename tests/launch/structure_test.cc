// Who may include whom: the arrows between the rooms, and the libraries that only some rooms know.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace shardora {
namespace {

using testing::IsEmpty;
using testing::SizeIs;
using Names = std::vector<std::string>;

// Each room with the rooms that it may include besides itself.
const std::map<std::string, std::set<std::string>>& arrows() {
  static const auto built = [] {
    std::map<std::string, std::set<std::string>> may;
    may["kernels"] = {};
    may["runtime/options.h"] = {};
    // Each row may know all rows before it; the rooms of a row do not know one another.
    const std::vector<Names> rows = {
        {"system"},
        {"comm", "formats", "memory"},
        {"data", "observe", "watchdog"},
        {"model"},
        {"adapter"},
        {"session"},
        {"run"},
        {"train"},
        {"jobs/analyze", "jobs/doctor", "jobs/eval", "jobs/generate", "jobs/inspect", "jobs/merge", "jobs/plan"}};
    std::set<std::string> lower = {"kernels", "runtime/options.h"};
    for (const Names& row : rows) {
      for (const std::string& room : row) may["runtime/" + room] = lower;
      for (const std::string& room : row) lower.insert("runtime/" + room);
    }
    // Arithmetic and its memory need no system.
    may["runtime/memory"].erase("runtime/system");
    may["launch"] = lower;
    return may;
  }();
  return built;
}

bool starts_with_any(const std::string& text, const Names& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const std::string& b) { return text.starts_with(b); });
}

// The room that a path of the tree stands in; empty for none.
std::string room_of(const std::string& path) {
  for (const auto& [room, allowed] : arrows()) {
    if (path == room || path.starts_with(room + "/")) return room;
  }
  return {};
}

bool knows_library(const std::string& file, const std::string& header) {
  const bool is_header = file.ends_with(".h");
  if (header == "mpi.h") return starts_with_any(file, {"runtime/comm/", "runtime/watchdog/"});
  if (header.starts_with("boost/")) return file.starts_with("launch/");
  if (starts_with_any(header, {"nvtx", "nvToolsExt"})) return file == "runtime/observe/ranges.cc";
  if (starts_with_any(header, {"cuda", "cublas", "cudnn", "nccl"})) {
    return starts_with_any(file, {"kernels/cuda/", "kernels/emulation/", "runtime/comm/nccl_"});
  }
  if (header.starts_with("nlohmann/")) {
    return !file.starts_with("kernels/") && (!is_header || header == "nlohmann/json_fwd.hpp");
  }
  if (header.starts_with("dnnl") || header == "omp.h")
    return starts_with_any(file, {"kernels/cpu/", "kernels/emulation/"});
  return true;
}

// The headers that a text includes, without brackets or quotes.
Names included(const std::string& text) {
  Names headers;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line.compare(hash, 1, "#") != 0) continue;
    const std::size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) continue;
    const std::size_t open = line.find_first_of("<\"", word);
    const std::size_t close = open == std::string::npos ? open : line.find_first_of(">\"", open + 1);
    if (close != std::string::npos) headers.push_back(line.substr(open + 1, close - open - 1));
  }
  return headers;
}

// The host emulation takes the place of what only nvcc compiles; nothing else knows it.
bool may_know_emulation(const std::string& file) {
  return file.starts_with("kernels/emulation/") || file == "kernels/cuda/platform.h";
}

// What is wrong with the includes of one file of kernels, runtime or launch.
Names violations(const std::string& file, const std::string& text) {
  const std::string room = room_of(file);
  Names found;
  if (room.empty()) return {file + " is in no room"};
  for (const std::string& header : included(text)) {
    const std::string other = room_of(header);
    const bool ours = starts_with_any(header, {"kernels/", "runtime/", "launch/", "tests/"});
    const bool emulation = header.starts_with("kernels/emulation/") && !may_know_emulation(file);
    const bool reachable = !emulation && (other == room || arrows().at(room).contains(other));
    if ((ours && !reachable) || !knows_library(file, header)) {
      found.push_back(file);
      found.back().append(" includes ").append(header);
    }
  }
  return found;
}

TEST(Structure, EveryFileIncludesOnlyWhatItsRoomMayKnow) {
  const std::filesystem::path root = SHARDORA_SOURCE_DIR;
  const std::set<std::string> kinds = {".h", ".cc", ".cu", ".cuh"};
  int files = 0;
  Names found;
  for (const char* top : {"kernels", "runtime", "launch"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file() || !kinds.contains(entry.path().extension())) continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      for (std::string& one : violations(std::filesystem::relative(entry.path(), root), text.str())) {
        found.push_back(std::move(one));
      }
      ++files;
    }
  }
  EXPECT_THAT(found, IsEmpty());
  EXPECT_GT(files, 50);
}

TEST(Structure, TheRulesFindWhatBreaksThem) {
  const std::pair<const char*, const char*> wrong[] = {
      {"kernels/linear.h", "#include \"runtime/options.h\""},
      {"kernels/cpu/linear.cc", "#include <mpi.h>"},
      {"kernels/tensor.cc", "#include <cuda_runtime.h>"},
      {"kernels/tensor.cc", "#include <nlohmann/json.hpp>"},
      {"runtime/memory/arena.cc", "#include \"runtime/comm/communicator.h\""},
      {"runtime/comm/agreement.cc", "#include \"runtime/model/decoder.h\""},
      {"runtime/comm/mpi_session.cc", "#include \"runtime/watchdog/watchdog.h\""},
      {"runtime/data/batch.cc", "#include \"runtime/watchdog/watchdog.h\""},
      {"runtime/formats/json.h", "# include <nlohmann/json.hpp>"},
      {"runtime/model/decoder.cc", "  #include \"runtime/adapter/adapter.h\""},
      {"runtime/train/train.cc", "#include <mpi.h>"},
      {"runtime/train/train.cc", "#include \"launch/options.h\""},
      {"runtime/train/train.cc", "#include \"runtime/jobs/plan/shapes.h\""},
      {"runtime/session/context.h", "#include <boost/program_options.hpp>"},
      {"runtime/comm/mpi_session.cc", "#include <nccl.h>"},
      {"runtime/model/dora_linear.cc", "#include <dnnl.hpp>"},
      {"runtime/observe/ranges.h", "#include <nvtx3/nvToolsExt.h>"},
      {"kernels/cuda/cuda_backend.cc", "#include <nvtx3/nvToolsExt.h>"},
      {"kernels/cuda/linear.cu", "#include \"kernels/emulation/emulation.h\""},
      {"launch/main.cc", "#include <mpi.h>"},
      {"launch/main.cc", "#include \"tests/support/mpi_test.h\""},
      {"runtime/stray.cc", ""},
  };
  for (const auto& [file, line] : wrong) EXPECT_THAT(violations(file, line), SizeIs(1)) << file << ": " << line;
}

TEST(Structure, TheRulesAllowWhatTheRoomsAreMeantToKnow) {
  const std::pair<const char*, const char*> right[] = {
      {"kernels/linear.h", "#include \"kernels/tensor.h\"\n#include <vector>"},
      {"runtime/comm/mpi_check.h", "#include <mpi.h>"},
      {"runtime/watchdog/gossip.h", "#include <mpi.h>\n#include \"runtime/comm/launcher.h\""},
      {"kernels/cuda/platform.h", "#include \"kernels/emulation/emulation.h\""},
      {"runtime/comm/nccl_communicator.cc", "#include <nccl.h>"},
      {"runtime/formats/json.h", "#include <nlohmann/json_fwd.hpp>"},
      {"runtime/formats/json.cc", "#include <nlohmann/json.hpp>"},
      {"runtime/adapter/norms.cc", "#include \"runtime/model/dora_linear.h\""},
      {"runtime/observe/ranges.cc", "#include <nvtx3/nvToolsExt.h>"},
      {"launch/options.cc", "#include <boost/program_options.hpp>\n#include \"runtime/options.h\""},
  };
  for (const auto& [file, line] : right) EXPECT_THAT(violations(file, line), IsEmpty());
}

}  // namespace
}  // namespace shardora
