// From a step's logits, which the tensor ranks share by columns, to the tokens that may come next: the same on every
// rank of the group.
#pragma once

#include <optional>

#include "runtime/jobs/generate/search.h"
#include "runtime/jobs/generate/token_sampler.h"
#include "runtime/session/loaded_model.h"

namespace shardora {

class NextTokens {
 public:
  struct Rule {
    std::int64_t candidates = 1;           // the most probable ones; equal ones: the lower id first
    std::optional<SamplingRule> sampling;  // one that is drawn, instead
  };
  // Room for so many rows.
  NextTokens(const Context& context, const Decoder& decoder, const Rule& rule, std::int64_t most_rows);
  // Rule::candidates of each row, the best first; valid until the next call. `uniforms`: what is drawn with, one in
  // [0, 1) a row; else empty. Collective over the tensor group. Throws Error(kNotFinite).
  std::span<const Candidate> choose(TensorView logits, const Decoder::RowSums& sums, std::span<const double> uniforms);

 private:
  void fetch(TensorView logits, const Decoder::RowSums& sums);
  void join_columns(std::int64_t rows);
  void choose_row(std::int64_t row, std::span<const double> uniforms);
  void top_candidates(std::span<const float> logits, std::span<Candidate> best) const;
  void share_choice(std::int64_t rows);
  Communicator& group() const { return context_.grid.tensor_group->host(); }

  const Context& context_;
  Range columns_;
  std::int64_t vocabulary_;
  Rule rule_;
  std::optional<TokenSampler> sampler_;
  std::vector<float> own_, all_;  // [rows, columns of this rank], [rows, vocabulary]
  std::vector<float> largest_, sums_;
  std::vector<Candidate> chosen_;
};

}  // namespace shardora
