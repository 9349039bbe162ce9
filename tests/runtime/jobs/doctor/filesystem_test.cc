// The tests of a folder, on real folders, good and bad.
#include "runtime/jobs/doctor/filesystem.h"

#include <gmock/gmock.h>

#include <fstream>

#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string faults(const FolderFacts& facts) {
  std::string text;
  for (const Finding& one : facts.findings) text += one.fault ? one.text + "\n" : "";
  return text;
}

TEST(AFolder, ThatWorksHasNoFaultAndKeepsNothing) {
  const TemporaryFolder folder;
  const FolderFacts facts = test_folder(folder.path(), "h");
  EXPECT_EQ(faults(facts), "");
  EXPECT_EQ(facts.folder, folder.path().string());
  EXPECT_GT(facts.write_bytes_per_second, 0);
  EXPECT_GT(facts.free_bytes, 0);
  EXPECT_TRUE(facts.locks);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(AFolder, ThatIsNotThereYetIsTestedInTheOneAboveAndNotMade) {
  const TemporaryFolder folder;
  const FolderFacts facts = test_folder(folder / "a/b", "h");
  EXPECT_EQ(faults(facts), "");
  EXPECT_EQ(facts.folder, folder.path().string());
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(AFolder, WhosePlaceIsTakenOrWhereNothingCanBeMadeIsAFault) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_THAT(faults(test_folder(folder / "file", "h")), HasSubstr("is no folder"));
  fs::create_symlink(folder / "nowhere", folder / "link");
  EXPECT_THAT(faults(test_folder(folder / "link", "h")), HasSubstr("is no folder"));
  EXPECT_THAT(faults(test_folder("/proc/run", "h")), HasSubstr("output.dir /proc on host h: cannot make a folder"));
}

}  // namespace
}  // namespace shardora
