#include "runtime/jobs/plan/calibration_file.h"

#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr const char* kFormat = "shardora.calibration.v1";

}  // namespace

CalibrationFile read_calibration(const std::filesystem::path& path) {
  const nlohmann::ordered_json document = read_json(path);
  const std::string where = printable(path.string());
  const JsonFields fields(document, where);
  if (fields.text("format") != kFormat) fields.refuse_value("format", kFormat);
  CalibrationFile content{.machine = fields.text("machine"), .figures = {}};
  const nlohmann::ordered_json* const figures = fields.find("figures");
  if (figures == nullptr || !figures->is_object()) fields.refuse_value("figures", "an object of speeds by operation");
  const JsonFields each(*figures, where);
  for (const auto& [key, value] : figures->items()) content.figures[key] = each.number(key, 1, 1e18);
  return content;
}

void write_calibration(const std::filesystem::path& path, const CalibrationFile& content) {
  nlohmann::ordered_json document = {{"format", kFormat}, {"machine", content.machine}};
  document["figures"] = nlohmann::ordered_json(content.figures);
  replace_file(path, document.dump(1) + "\n");
}

}  // namespace shardora
