// Writes and reads manifest.json, and makes the table of files that it is compared with.
#include "runtime/run/manifest.h"

#include <fmt/core.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "shardora.checkpoint.v1";
constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();

// The last bytes of the file: always of one length.
std::string ending(std::string_view body) {
  return fmt::format(",\n  \"checksum\": \"{}\"\n}}\n", hex(checksum(std::as_bytes(std::span(body)))));
}

FileTable files_from(const Json& files, const std::string& name) {
  FileTable table;
  const JsonFields records(files, name);
  for (const auto& [file, record] : files.items()) {
    const JsonFields fields(record, name);
    table[file] = {fields.integer("bytes", 0, kHighest), fields.text("xxh3")};
  }
  return table;
}

ManifestFile from_json(const JsonFields& fields, const std::string& name) {
  ManifestFile content;
  content.manifest.step = fields.integer("step", 0, kHighest);
  content.manifest.world = fields.text("world");
  content.manifest.threads = fields.integer("threads", 0, kHighest);
  content.manifest.instruction_set = fields.text("instruction_set");
  const Json *const configuration = fields.find("configuration"), *const files = fields.find("files");
  if (configuration == nullptr || files == nullptr) {
    refuse(ExitStatus::kBadInput, "{}: not a checkpoint's manifest: it has no configuration, or no files", name);
  }
  if (!configuration->is_null()) content.manifest.configuration_json = configuration->dump();
  content.files = files_from(*files, name);
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
  const JsonFields fields(json, name);
  const std::string format = fields.text("format");
  if (format != kFormat) {
    refuse(ExitStatus::kBadInput, "{}: format {}, expected {}; another version of this program wrote it", name,
           printable(format), kFormat);
  }
  return from_json(fields, name);
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
