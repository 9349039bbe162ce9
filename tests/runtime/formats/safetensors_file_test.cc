// safetensors files on disk: reading slices, writing, and what a broken file or disk does.
#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "runtime/formats/safetensors.h"
#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

HostTensor floats(std::vector<std::int64_t> shape, float first = 0) {
  HostTensor tensor;
  const auto count = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  tensor.shape = std::move(shape);
  tensor.bytes.resize(static_cast<std::size_t>(count) * sizeof(float));
  std::iota(tensor.f32().begin(), tensor.f32().end(), first);
  return tensor;
}

// count columns from `first`, as read_columns gives them, and as a plain loop does.
void expect_columns(const SafetensorsFile& file, const HostTensor& whole, std::int64_t first, std::int64_t count) {
  const std::int64_t rows = whole.shape[0], columns = whole.shape[1];
  std::vector<float> got(static_cast<std::size_t>(rows * count), -1), expected;
  HostTensor copy = whole;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < count; ++c)
      expected.push_back(copy.f32()[static_cast<std::size_t>(r * columns + first + c)]);
  }
  file.read_columns("t", 0, rows, first, count, std::as_writable_bytes(std::span(got)));
  EXPECT_EQ(got, expected) << first << " " << count;
  // All rows but the first and the last.
  const std::int64_t inside = std::max<std::int64_t>(rows - 2, 0), skipped = rows > 0 ? count : 0;
  std::vector<float> middle(static_cast<std::size_t>(inside * count), -1);
  file.read_columns("t", rows > 0 ? 1 : 0, inside, first, count, std::as_writable_bytes(std::span(middle)));
  EXPECT_TRUE(std::equal(middle.begin(), middle.end(), expected.begin() + skipped)) << first << " " << count;
}

TEST(SafetensorsFile, ReadsRowsColumnsAndWholeTensors) {
  const TemporaryFolder folder;
  const HostTensor tensor = floats({17, 5});
  write_safetensors(folder / "m", {{"a", floats({3}, 100)}, {"t", tensor}, {"z", floats({1}, 200)}}, {});
  const SafetensorsFile file(folder / "m");
  EXPECT_EQ(file.dtype("t"), DType::kF32);
  EXPECT_TRUE(file.has("a"));
  EXPECT_FALSE(file.has("b"));
  std::vector<float> rows(15);
  file.read_rows("t", 4, 3, std::as_writable_bytes(std::span(rows)));
  EXPECT_EQ(rows.front(), 20);
  EXPECT_EQ(rows.back(), 34);
  file.read_rows("t", 17, 0, {});
  std::vector<float> all(85);
  file.read("t", std::as_writable_bytes(std::span(all)));
  EXPECT_EQ(all.back(), 84);
  for (const auto& [first, count] : {std::pair{0, 5}, {0, 2}, {2, 3}, {4, 1}, {5, 0}})
    expect_columns(file, tensor, first, count);
}

TEST(SafetensorsFile, ReadsColumnsOfWideAndOfManyRows) {
  const TemporaryFolder folder;
  const HostTensor wide = floats({3, 50'000}), tall = floats({20'000, 129});  // one call a row; blocks of rows
  write_safetensors(folder / "wide", {{"t", wide}}, {});
  write_safetensors(folder / "tall", {{"t", tall}}, {});
  expect_columns(SafetensorsFile(folder / "wide"), wide, 10'000, 20'001);
  expect_columns(SafetensorsFile(folder / "tall"), tall, 64, 65);
  expect_columns(SafetensorsFile(folder / "tall"), tall, 0, 64);
}

TEST(SafetensorsFile, ChecksEverySliceItIsAskedFor) {
  const TemporaryFolder folder;
  write_safetensors(folder / "m", {{"t", floats({2, 3})}}, {});
  const SafetensorsFile file(folder / "m");
  std::vector<std::byte> out(12);
  const auto refused = [](auto run) { expect_refused(run, ExitStatus::kInternal, "contract broken"); };
  refused([&] { file.read_rows("t", 2, 1, out); });
  refused([&] { file.read_rows("t", -1, 1, out); });
  refused([&] { file.read_rows("t", 0, 2, out); });
  refused([&] { file.read_columns("t", 0, 2, 3, 1, std::span(out).first(8)); });
  refused([&] { file.read_columns("t", 1, 2, 0, 1, std::span(out).first(8)); });
  refused([&] { file.read("t", out); });
  expect_refused([&] { file.read("u", out); }, ExitStatus::kBadInput, "has no tensor 'u'");
}

TEST(SafetensorsFile, RefusesFilesThatAreTooShortOrLie) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    put(folder / "m", bytes);
    expect_refused([&] { SafetensorsFile file(folder / "m"); }, ExitStatus::kBadInput, part);
    fs::remove(folder / "m");
  };
  refused("", "too few");
  refused(std::string(7, '\0'), "too few");
  refused(std::string(8, '\0'), "does not start with");
  refused(std::string(8, '\xff') + "{}", "at most 2 are possible");
  refused(std::string("\x03\0\0\0\0\0\0\0{}", 10), "has 3 bytes, at most 2");
  refused(safetensors_bytes("{}", "x"), "but 1 follow");
  const std::string header = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  refused(safetensors_bytes(header, "1234567"), "but 7 follow");
  refused(safetensors_bytes(header, "123456789"), "but 9 follow");
  put(folder / "m", safetensors_bytes(header, "12345678"));
  EXPECT_NO_THROW(SafetensorsFile(folder / "m"));
}

TEST(SafetensorsFile, RefusesAHeaderAbove100MegabytesBeforeItAsksForMemory) {
  const TemporaryFolder folder;
  put(folder / "m", std::string("\x01\xe1\xf5\x05\0\0\0\0", 8));  // 100,000,001
  fs::resize_file(folder / "m", 200'000'000);                     // a hole: takes no disk
  expect_refused([&] { SafetensorsFile file(folder / "m"); }, ExitStatus::kBadInput, "at most 100000000 are possible");
}

TEST(SafetensorsFile, TypesThatAreNotComputedWithAreReadButNamedWhenUsed) {
  const TemporaryFolder folder;
  put(folder / "m", safetensors_bytes(R"({"t":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "x"));
  const SafetensorsFile file(folder / "m");
  expect_refused([&] { file.dtype("t"); }, ExitStatus::kBadInput, "'t' has dtype F8_E4M3, expected F32");
  expect_refused([&] { read_safetensors(folder / "m"); }, ExitStatus::kBadInput, "F8_E4M3");
}

TEST(SafetensorsWriter, WritesWhatIsReadBack) {
  const TemporaryFolder folder;
  TensorMap tensors = {{"b", floats({2, 3})}, {"empty", floats({0, 7})}, {"scalar", floats({}, 5)}};
  tensors["a\"\n漢"] = HostTensor{DType::kU8, {3}, {std::byte{1}, std::byte{2}, std::byte{3}}};
  tensors["i"] = HostTensor{DType::kI64, {1}, std::vector<std::byte>(8, std::byte{7})};
  write_safetensors(folder / "m", tensors, {{"format", "pt"}});
  EXPECT_EQ(SafetensorsFile(folder / "m").metadata().at("format"), "pt");
  const TensorMap back = read_safetensors(folder / "m");
  ASSERT_EQ(back.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(back.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(back.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(back.at(name).bytes, tensor.bytes) << name;
  }
  write_safetensors(folder / "again", tensors, {{"format", "pt"}});
  EXPECT_EQ(text_of(folder / "m"), text_of(folder / "again"));
}

TEST(SafetensorsWriter, KeepsTheOrderGivenAndAlignsTheData) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "m", {{"z", "BF16", {2}}, {"a", "U32", {1}}}, {});
  const std::string bytes = "12345678";
  writer.write(std::as_bytes(std::span(bytes).first(3)));
  writer.write(std::as_bytes(std::span(bytes).subspan(3)));
  writer.finish();
  const SafetensorsFile file(folder / "m");
  EXPECT_EQ(file.entry("z").begin, 0);
  EXPECT_EQ(file.entry("a").begin, 4);
  const std::string all = text_of(folder / "m");
  EXPECT_EQ((all.size() - 8) % 8, 0u);
  EXPECT_TRUE(all.ends_with("12345678"));
}

TEST(SafetensorsWriter, AnUnfinishedFileIsRemoved) {
  const TemporaryFolder folder;
  {
    SafetensorsWriter writer(folder / "m", {{"t", "U8", {3}}}, {});
    EXPECT_TRUE(fs::exists(folder / "m"));
    writer.write(std::vector<std::byte>(2));
    expect_refused([&] { writer.finish(); }, ExitStatus::kInternal, "contract broken");
    expect_refused([&] { writer.write(std::vector<std::byte>(2)); }, ExitStatus::kInternal, "contract broken");
  }
  EXPECT_FALSE(fs::exists(folder / "m"));
}

TEST(SafetensorsWriter, NeverWritesOverAFileNorRemovesIt) {
  const TemporaryFolder folder;
  put(folder / "m", "old");
  expect_refused([&] { write_safetensors(folder / "m", {{"t", floats({3})}}, {}); }, ExitStatus::kOutputBusy, "exists");
  EXPECT_EQ(text_of(folder / "m"), "old");
}

TEST(SafetensorsWriter, RefusesADeclarationThatNoReaderWouldTake) {
  const TemporaryFolder folder;
  using Declarations = std::vector<SafetensorsWriter::Declaration>;
  const auto build = [&](Declarations tensors) { SafetensorsWriter writer(folder / "m", std::move(tensors), {}); };
  expect_refused([&] { build({{"t", "U8", {1}}, {"t", "U8", {1}}}); }, ExitStatus::kBadInput, "occurs twice");
  expect_refused([&] { build({{"t", "F31", {1}}}); }, ExitStatus::kInternal, "contract broken");
  expect_refused([&] { build({{"t", "U8", {-1}}}); }, ExitStatus::kInternal, "contract broken");
  EXPECT_FALSE(fs::exists(folder / "m"));
}

TEST(SafetensorsWriter, AFullDiskIsReportedAndLeavesNothing) {
  const TemporaryFolder folder;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  expect_refused([&] { write_safetensors(folder / "m", {{"t", floats({5000})}}, {}); }, ExitStatus::kIo, "writing it");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(fs::exists(folder / "m"));
}

}  // namespace
}  // namespace shardora
