// Beam search over one prompt, as transformers' generate has it with early_stopping = False and length_penalty = 1:
//
//   each step    of all (beam, token): the (1 + stop tokens) * beams best by sum of log-probabilities, at least 2 *
//   beams finished     those of the first `beams` of them that end, scored sum / length (the stop token counts); the
//   best
//                `beams` of all steps are kept
//   going on     the first `beams` of them that do not end
//   done         at the length limit, or when `beams` have finished and no beam that goes on would, at its present
//                length, score above the worst of them
#pragma once

#include "runtime/jobs/generate/search.h"

namespace shardora {

class BeamSearch final : public Search {
 public:
  BeamSearch(std::int32_t last_of_prompt, std::int64_t beams, StopRule stop);
  // How many candidates of each row advance() wants.
  static std::int64_t candidates(std::int64_t beams, std::size_t stop_tokens);

  std::span<const LiveRow> rows() const override { return rows_; }
  std::span<const BeamCopy> copies() const override { return copies_; }
  void advance(std::span<const Candidate> candidates) override;
  Continuation result() const override { return finished_.at(0).found; }

 private:
  struct Beam {
    std::vector<std::int32_t> tokens;
    float sum = 0;  // of log-probabilities
  };
  struct Extension {
    std::int64_t beam = 0;
    std::int32_t token = 0;
    float sum = 0;
    bool stops = false;
  };
  struct Finished {
    Continuation found;
    float score = 0;
  };
  void rank_extensions(std::span<const Candidate> candidates);
  void keep_finished();
  void go_on();
  void give_places();
  bool may_improve() const;
  bool at_limit() const { return length_ == stop_.most_new; }

  StopRule stop_;
  std::size_t beams_;
  std::int64_t length_ = 0;         // of every continuation under way
  std::vector<Beam> live_, next_;   // by place of the cache
  std::vector<Extension> ranked_;   // best first
  std::vector<std::size_t> going_;  // of ranked_: those that go on
  std::vector<std::int64_t> places_;
  std::vector<Finished> finished_;  // best first
  std::vector<LiveRow> rows_;
  std::vector<BeamCopy> copies_;
};

}  // namespace shardora
