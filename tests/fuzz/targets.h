// Fuzz targets: each feeds bytes from nowhere to one door of the program, the one that a file of that kind comes
// through. It returns where they were accepted and where they were refused as they should be; all else ends the
// process.
//
// An input is text where it can be, so that the corpus can be read: where a target takes several files, they are parts
// between lines of %%, and a safetensors file may be given as its header, a line of %%%, and its data, to which the
// length is then put in front.
#pragma once

#include <span>
#include <string_view>

namespace shardora::fuzz {

void adapter(std::string_view input);         // adapter_config.json, adapter_model.safetensors
void choices(std::string_view input);         // a dataset file of questions
void counters(std::string_view input);        // state.safetensors of a checkpoint
void dataset(std::string_view input);         // a dataset file, to learn from and of prompts
void manifest(std::string_view input);        // manifest.json of a checkpoint, with or without its checksum
void model_config(std::string_view input);    // config.json, generation_config.json
void module_pattern(std::string_view input);  // a regular expression, a module's name
void options(std::string_view input);         // words of the command line, one a line; the configuration file
void run_lock(std::string_view input);        // run.lock
void safetensors(std::string_view input);     // any safetensors file
void weights(std::string_view input);         // config.json, the index, two files of weights

struct Target {
  std::string_view name;
  void (*run)(std::string_view input);
};
std::span<const Target> targets();
const Target* find_target(std::string_view name);  // null: none of that name

}  // namespace shardora::fuzz
