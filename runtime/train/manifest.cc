// Writes and reads manifest.json, and makes the table of files that it is compared with.
#include "runtime/train/manifest.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "runtime/io/files.h"
#include "runtime/io/json.h"

namespace shardora {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "shardora.checkpoint.v1";

// The last bytes of the file: always of one length.
std::string ending(std::string_view body) {
  return fmt::format(",\n  \"checksum\": \"{}\"\n}}\n", hex(checksum(std::as_bytes(std::span(body)))));
}

ManifestFile from_json(const Json& json) {
  ManifestFile content;
  content.manifest.step = json.at("step").get<std::int64_t>();
  content.manifest.world = json.at("world").get<std::string>();
  content.manifest.threads = json.at("threads").get<std::int64_t>();
  content.manifest.instruction_set = json.at("instruction_set").get<std::string>();
  const Json& configuration = json.at("configuration");
  if (!configuration.is_null()) content.manifest.configuration_json = configuration.dump();
  for (const auto& [name, record] : json.at("files").items()) {
    content.files[name] = {record.at("bytes").get<std::int64_t>(), record.at("xxh3").get<std::string>()};
  }
  return content;
}

}  // namespace

std::string render_manifest(const ManifestFile& content) {
  const std::string& configuration = content.manifest.configuration_json;
  Json files = Json::object();
  for (const auto& [name, record] : content.files) {
    files[name] = Json{{"bytes", record.bytes}, {"xxh3", record.checksum}};
  }
  const Json json{{"format", kFormat},
                  {"step", content.manifest.step},
                  {"world", content.manifest.world},
                  {"threads", content.manifest.threads},
                  {"instruction_set", content.manifest.instruction_set},
                  {"configuration", configuration.empty() ? Json() : Json::parse(configuration)},
                  {"files", files}};
  std::string text = json.dump(2);
  text.resize(text.size() - 2);  // "\n}" comes with the ending
  return text + ending(text);
}

ManifestFile read_manifest(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  const std::string text = read_text(path);
  const std::size_t end = ending("").size();
  if (text.size() < end || !text.ends_with(ending(std::string_view(text).substr(0, text.size() - end)))) {
    refuse(ExitStatus::kBadInput, "{}: is damaged: its own checksum does not fit its text", name);
  }
  const Json json = parse_json(text, name);
  try {
    const std::string format = json.at("format").get<std::string>();
    if (format != kFormat) {
      refuse(ExitStatus::kBadInput, "{}: format {}, expected {}; another version of this program wrote it", name,
             printable(format), kFormat);
    }
    return from_json(json);
  } catch (const Json::exception& failure) {
    refuse(ExitStatus::kBadInput, "{}: not a checkpoint's manifest: {}", name, printable(failure.what()));
  }
}

FileTable list_files(const std::filesystem::path& folder, bool with_checksums) {
  FileTable files;
  for (const auto& entry : entries_below(folder)) {
    const std::string name = entry.path().lexically_relative(folder).generic_string();
    if (name == "manifest.json") continue;
    const auto type = entry.symlink_status().type();
    if (type == std::filesystem::file_type::directory) continue;
    if (type != std::filesystem::file_type::regular) {
      refuse(ExitStatus::kBadInput, "{}: is neither a file nor a folder", printable(entry.path().string()));
    }
    FileRecord& record = files[name];
    record.bytes = static_cast<std::int64_t>(entry.file_size());
    if (with_checksums) record.checksum = hex(file_checksum(entry.path()));
  }
  return files;
}

}  // namespace shardora
