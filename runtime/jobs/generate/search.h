// How one prompt is continued: which of its rows go on after each step, until it is done.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shardora {

// A token that may come next, and its log-probability under the model.
struct Candidate {
  std::int32_t token = 0;
  float log_probability = 0;
};

// A continuation on its way: its last token, and the beam whose cache holds all before that.
struct LiveRow {
  std::int64_t beam = 0;
  std::int32_t token = 0;
};

struct BeamCopy {
  std::int64_t from = 0, to = 0;
};

struct StopRule {
  std::vector<std::int64_t> tokens;  // each ends a continuation
  std::int64_t most_new = 0;         // and so does this number of tokens, a stop token included; >= 1
  bool stops(std::int32_t token) const;
};

struct Continuation {
  std::vector<std::int32_t> tokens;  // new ones, without the stop token
  bool at_stop_token = false;        // else at the length limit
  double log_probability = 0;        // of the new tokens, the stop token included
};

class Search {
 public:
  virtual ~Search() = default;
  // The rows that go on, by ascending beam; the prompt itself is beam 0 of the first step. Empty: done.
  virtual std::span<const LiveRow> rows() const = 0;
  // What the rows' caches need before they go on; no beam is read and written.
  virtual std::span<const BeamCopy> copies() const = 0;
  // The same number of candidates for each row, in order of rows, the best first.
  virtual void advance(std::span<const Candidate> candidates) = 0;
  virtual Continuation result() const = 0;
};

// One row, which takes its first candidate at each step: greedy, or what was drawn.
class SingleSearch final : public Search {
 public:
  SingleSearch(std::int32_t last_of_prompt, StopRule stop);
  std::span<const LiveRow> rows() const override { return std::span(&row_, done_ ? 0 : 1); }
  std::span<const BeamCopy> copies() const override { return {}; }
  void advance(std::span<const Candidate> candidates) override;
  Continuation result() const override { return found_; }

 private:
  StopRule stop_;
  LiveRow row_;
  Continuation found_;
  bool done_ = false;
};

}  // namespace shardora
