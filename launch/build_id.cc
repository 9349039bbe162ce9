#include "launch/build_id.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>

namespace shardora {
namespace {

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

// A note: sizes of name and content, type, name, content, each padded to four bytes.
std::string id_in_notes(const char* note, std::size_t bytes) {
  while (bytes >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) head;
    std::memcpy(&head, note, sizeof head);
    const std::size_t whole = sizeof head + padded(head.n_namesz) + padded(head.n_descsz);
    if (whole > bytes) break;
    const char* const name = note + sizeof head;
    if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
      std::string text;
      for (std::size_t i = 0; i < head.n_descsz; ++i) {
        text += fmt::format("{:02x}", static_cast<unsigned char>(name[padded(head.n_namesz) + i]));
      }
      return text;
    }
    note += whole;
    bytes -= whole;
  }
  return {};
}

// The program itself is the first object of the list.
int look(dl_phdr_info* object, std::size_t, void* found) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = object->dlpi_phdr[i];
    if (part.p_type != PT_NOTE) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the loader gives addresses as integers
    const auto* const notes = reinterpret_cast<const char*>(object->dlpi_addr + part.p_vaddr);
    const std::string id = id_in_notes(notes, part.p_memsz);
    if (!id.empty()) *static_cast<std::string*>(found) = id;
  }
  return 1;
}

}  // namespace

std::string program_identity() {
  std::string id;
  dl_iterate_phdr(look, &id);
  return id.empty() ? SHARDORA_VERSION : SHARDORA_VERSION " build " + id;
}

}  // namespace shardora
