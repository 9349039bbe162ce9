// plan.calibration: measured speeds as a file.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace shardora {

struct CalibrationFile {
  std::string machine;                    // that was measured
  std::map<std::string, double> figures;  // a second, by operation and shape
};
// Throws Error(kBadInput) where the file is not a calibration.
CalibrationFile read_calibration(const std::filesystem::path& path);
void write_calibration(const std::filesystem::path& path, const CalibrationFile& content);  // throws Error(kIo)

}  // namespace shardora
