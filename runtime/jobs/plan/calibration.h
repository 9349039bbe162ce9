// What this machine's processor does with the operations of a step, measured on the shapes that a plan asks about, each
// once; kept in a file where one is named, so that the next plan need not measure, and another machine can plan for
// this one.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "runtime/jobs/plan/calibration_file.h"
#include "runtime/jobs/plan/occupancy.h"
#include "runtime/jobs/plan/speeds.h"

namespace shardora {

class MeasuredSpeeds final : public Speeds {
 public:
  struct Machine {
    BackendOptions backend;      // all threads that the ranks will have together
    int ranks = 1;               // that share them
    FrozenMatrixPlan weights;    // storage, one_copy
    std::filesystem::path file;  // empty: none
  };
  // Throws Error(kBadInput) where the file is not a calibration.
  explicit MeasuredSpeeds(Machine machine);
  ~MeasuredSpeeds() override;

  double product(const ProductShape& shape, bool forward) override;
  double adapter(const ProductShape& shape, std::int64_t rank) override;
  double attention(const AttentionShape& shape, bool forward) override;
  double elementwise(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate) override;
  double loss(std::int64_t rows, std::int64_t columns) override;
  double memory() override;
  double link(int neighbours) override;
  double latency() override;
  // Name, instruction set; as a file has them, where one was read.
  const std::string& processor() const { return measured_.machine; }
  const MeasuringTime& measuring_time() const { return spent_; }  // of this object; none where the file had all
  // Writes what was measured to the file, if there is one. Throws Error(kIo).
  void save() const;

 private:
  double known(const std::string& operation, const std::function<double()>& measure);
  Backend& backend();

  Machine machine_;
  CalibrationFile measured_;
  bool other_ = false;  // the file is of another machine
  bool changed_ = false;
  MeasuringTime spent_;
  std::unique_ptr<Backend> backend_;  // made when something must be measured
};

}  // namespace shardora
