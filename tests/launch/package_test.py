"""The Python package: its console commands, the paths of the scripts that they were, and what an installation holds."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
COMMANDS = tomllib.loads((LAUNCH / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
OLD_PATHS = {
    "data/prepare.py": "shardora-prepare",
    "data/text.py": "shardora-text",
    "data/show.py": "shardora-show",
    "report/report.py": "shardora-report",
    "report/follow_wandb.py": "shardora-wandb",
    "convert_config.py": "shardora-convert",
    "eval/commonsense.py": "shardora-commonsense",
    "analyze/scatter.py": "shardora-analyze scatter",
    "analyze/study.py": "shardora-analyze study",
}


def run(*words, **how):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **how)


class Package(unittest.TestCase):
    def test_every_command_is_installed_and_a_mistake_is_one_line_under_its_name(self):
        for name in COMMANDS:
            done = run(pathlib.Path(sys.executable).parent / name, "--no-such-option")
            self.assertEqual((done.returncode, done.stdout), (64, ""), done.stderr)
            self.assertRegex(done.stderr, rf"^{name}: [^\n]+\n$")

    def test_the_paths_of_the_old_scripts_name_the_command(self):
        for path, command in OLD_PATHS.items():
            done = run("python3", LAUNCH / path, "--tokenizer", "x")
            self.assertEqual((done.returncode, done.stdout), (64, ""), done.stderr)
            self.assertRegex(done.stderr, rf"^{os.path.basename(path)}: [^\n]*/{command};[^\n]*\n$")
            self.assertIn(command.split()[0], COMMANDS)

    def test_a_package_that_is_missing_is_named(self):
        code = "import sys; sys.modules['numpy'] = None; from shardora import commands; sys.exit(commands.prepare())"
        done = run(sys.executable, "-c", code)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (69, 1), done.stderr)
        self.assertRegex(done.stderr, "Python package numpy is missing; run launch/install.sh data report")

    def test_the_quickstart_needs_no_package_but_this_one(self):
        for step in ("make", "split", "table"):
            words = (sys.executable, "-S", "-m", "shardora.quickstart", step)  # -S: without site-packages
            done = run(*words, env={**os.environ, "PYTHONPATH": str(LAUNCH)})
            self.assertEqual((done.returncode, done.stderr.count("\n")), (64, 1), done.stderr)

    def test_an_installation_without_the_tree_and_without_an_index_holds_all_files(self):
        with tempfile.TemporaryDirectory() as folder:
            pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", folder)
            done = run(sys.executable, *pip, LAUNCH)
            self.assertEqual(done.returncode, 0, done.stderr)
            wanted = {path.relative_to(LAUNCH) for path in (LAUNCH / "shardora").rglob("*.*") if path.suffix != ".pyc"}
            found = {path.relative_to(folder) for path in pathlib.Path(folder, "shardora").rglob("*.*")}
            self.assertLessEqual({path for path in wanted if (LAUNCH / path).is_file()}, found)
            self.assertEqual({path.name for path in pathlib.Path(folder, "bin").iterdir()}, set(COMMANDS))


if __name__ == "__main__":
    unittest.main()
