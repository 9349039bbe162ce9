// A dataset file of multiple-choice questions.
#include "runtime/data/multiple_choice.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {

void choices(std::string_view input) {
  const Scratch scratch;
  const std::filesystem::path path = scratch.put("choices.safetensors", safetensors_bytes(input));
  accepted([&] {
    const ChoiceSet set(path, 300, 64);
    std::int64_t options = 0;
    for (std::int64_t q = 0; q < set.size(); ++q) {
      const ChoiceSet::Question question = set[q];
      require(question.first == options && question.options >= 2, "options out of order");
      require(question.answer >= 0 && question.answer < question.options, "an answer that is no option");
      options += question.options;
    }
    require(options == set.options().size() && !set.fingerprint().empty(), "options without a question");
  });
}

}  // namespace shardora::fuzz
