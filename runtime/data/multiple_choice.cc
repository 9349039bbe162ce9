#include "runtime/data/multiple_choice.h"

#include "runtime/data/dataset_file.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

void check_questions(std::span<const std::int64_t> questions, std::int64_t options, const std::string& name) {
  if (questions.size() < 2)
    refuse_dataset(name, "holds no question: tensor questions has {} entries", questions.size());
  if (questions.front() != 0 || questions.back() != options) {
    refuse_dataset(name, "tensor questions goes from {} to {}, expected from 0 to {}, the number of sequences",
                   questions.front(), questions.back(), options);
  }
  for (std::size_t q = 0; q + 1 < questions.size(); ++q) {
    if (questions[q + 1] < questions[q] || questions[q + 1] - questions[q] < 2) {
      refuse_dataset(name, "question {} has the sequences from {} to before {}, expected two options or more", q,
                     questions[q], questions[q + 1]);
    }
  }
}

void check_answers(std::span<const std::int32_t> answers, std::span<const std::int64_t> questions,
                   const std::string& name) {
  if (answers.size() + 1 != questions.size()) {
    refuse_dataset(name, "tensor answers has {} entries, expected {}, one a question", answers.size(),
                   questions.size() - 1);
  }
  for (std::size_t q = 0; q < answers.size(); ++q) {
    if (answers[q] < 0 || answers[q] >= questions[q + 1] - questions[q]) {
      refuse_dataset(name, "question {} has answer {}, expected one of its {} options, from 0", q, answers[q],
                     questions[q + 1] - questions[q]);
    }
  }
}

}  // namespace

ChoiceSet::ChoiceSet(const std::filesystem::path& path, std::int64_t vocabulary, std::int64_t longest)
    : options_(path, vocabulary, longest, Overlong::kError, Dataset::Use::kChoices) {
  const SafetensorsFile file(path, Links::kFollow);
  const std::string name = printable(path.string());
  questions_ = read_values<std::int64_t>(file, "questions", "I64", name);
  check_questions(questions_, options_.size(), name);
  answers_ = read_values<std::int32_t>(file, "answers", "I32", name);
  check_answers(answers_, questions_, name);
  for (std::int64_t i = 0; i < options_.size(); ++i) {
    if (options_.target_count(i) == 0) refuse_dataset(name, "sequence {}, an option, has no target to score", i);
  }
}

ChoiceSet::Question ChoiceSet::operator[](std::int64_t index) const {
  SHARDORA_CHECK(index >= 0 && index < size());
  const auto q = static_cast<std::size_t>(index);
  return {.first = questions_[q], .options = questions_[q + 1] - questions_[q], .answer = answers_[q]};
}

std::string ChoiceSet::fingerprint() const {
  const std::uint64_t questions = checksum(std::as_bytes(std::span(questions_)));
  return options_.fingerprint() + hex(checksum(std::as_bytes(std::span(answers_)), questions));
}

}  // namespace shardora
