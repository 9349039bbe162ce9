// plan.calibration: speeds that an earlier plan has measured.
#include "runtime/jobs/plan/calibration_file.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {

void calibration(std::string_view input) {
  const Scratch scratch;
  const std::filesystem::path path = scratch.put("calibration.json", input);
  CalibrationFile content;
  if (!accepted([&] { content = read_calibration(path); })) return;
  for (const auto& [operation, speed] : content.figures) require(speed >= 1 && speed <= 1e18, "a speed out of range");
  write_calibration(path, content);
  require(accepted([&] {
            const CalibrationFile same = read_calibration(path);
            require(same.machine == content.machine && same.figures == content.figures, "another, read again");
          }),
          "refused, read again");
}

}  // namespace shardora::fuzz
