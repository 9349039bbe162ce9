// Multiple-choice questions: a dataset file whose sequences are options, each the question's prompt and one way to go
// on, the targets being the tokens of that way; with two tensors more:
//
//   questions  int64 [Q+1]   the options of question q are the sequences [questions[q], questions[q+1]), two or more
//   answers    int32 [Q]     which of them is right, from 0
#pragma once

#include "runtime/data/dataset.h"

namespace shardora {

class ChoiceSet {
 public:
  // Throws Error(kBadInput) naming the file: all that a dataset refuses, an option that is longer than `longest` tokens
  // or has no target, questions out of order or with fewer than two options, answers that name no option.
  ChoiceSet(const std::filesystem::path& path, std::int64_t vocabulary, std::int64_t longest);

  const Dataset& options() const { return options_; }
  std::int64_t size() const { return static_cast<std::int64_t>(answers_.size()); }  // questions
  struct Question {
    std::int64_t first = 0, options = 0;  // sequences of options()
    std::int64_t answer = 0;              // from 0
  };
  Question operator[](std::int64_t index) const;
  std::string fingerprint() const;

 private:
  Dataset options_;
  std::vector<std::int64_t> questions_;
  std::vector<std::int32_t> answers_;
};

}  // namespace shardora
