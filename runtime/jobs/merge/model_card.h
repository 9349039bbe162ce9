// README.md of a merged model: what it was made of and how, from what the adapter and its run have written down.
#pragma once

#include "runtime/formats/peft_adapter.h"
#include "runtime/jobs/merge/merge.h"

namespace shardora {

inline constexpr const char* kModelCard = "README.md";

// Markdown with the front matter of Hugging Face's hub. What is not recorded is left out.
std::string model_card(const RunOptions& options, const PeftConfig& config, const MergeSummary& summary);
// Whether a folder has a model card written by this program.
bool has_model_card(const std::filesystem::path& folder);

}  // namespace shardora
