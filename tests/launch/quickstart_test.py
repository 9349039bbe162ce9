"""The quickstart's script: what it shows, what it repeats, and how it fails. The program, mpirun, cmake and the installer
are stand-ins; make and table are the real ones."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("launch/quickstart.sh", "launch/shardora", "configs")

PROGRAM = """#!/usr/bin/env python3
import json, os, pathlib, signal, sys
command, flags = sys.argv[1], dict(word[2:].split("=", 1) for word in sys.argv[2:] if "=" in word)
with open("calls", "a") as file:
    print(command, "overwrite=" + flags.get("output.overwrite", ""), "tensor=" + flags.get("parallel.tensor", ""), file=file)
print("shardora: [rank 0] (parallel.backend = auto: rank 0 says: no CUDA)\\nstep 1/2  loss 0.5", file=sys.stderr)
if command == os.environ.get("INTERRUPTS"):
    os.killpg(0, signal.SIGINT)
if command == os.environ.get("FAILS"):
    sys.exit(print("shardora: [rank 0] x.cfg: no such thing; expected another", file=sys.stderr) or 65)
print("shardora: [rank 0] warning: output.overwrite: removed logs", file=sys.stderr)
print("shardora: [rank 0] warning: " + os.environ.get("WARNS", "output.overwrite: removed adapter"), file=sys.stderr)
if command == "train":
    model = pathlib.Path(flags["output.dir"], "model")
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text('{"num_key_value_heads": 2}')
result = {"trained_parameters": 1, "total_parameters": 10, "tokens_per_second": 5.0, "loss": 0.25}
if command == "generate":
    answers = json.loads(pathlib.Path(sys.argv[3]).with_name("answers.json").read_text())
    base = "adapter.path" not in flags and "merged" not in flags["model.path"]
    result = {"sequences": [{"tokens": [7] if base else answer} for answer in answers]}
print(json.dumps(result))
"""
MPIRUN = '#!/bin/sh\nwhile [ "$1" != build/release/shardora ]; do shift; done\nexec "$@"\n'


class Quickstart(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name).resolve()
        for name in FILES:
            (self.tree / name).parent.mkdir(exist_ok=True)
            (self.tree / name).symlink_to(ROOT / name)
        # The script finds its tree by its own place, so it is a copy.
        (self.tree / "launch/quickstart.sh").unlink()
        self.program("launch/quickstart.sh", (ROOT / "launch/quickstart.sh").read_text("utf-8"))
        self.program("launch/install.sh", "#!/bin/sh\necho install: nothing to do >&2\n")
        self.program("build/release/shardora", PROGRAM)
        self.program("bin/mpirun", MPIRUN)
        self.program("bin/cmake", "#!/bin/sh\necho '[1/1] Linking'\n")
        (self.tree / "build/release/build.ninja").touch()

    def program(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)

    def run_it(self, *words, **environment):
        (self.tree / "calls").unlink(missing_ok=True)
        path = f"{self.tree}/bin:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        done = subprocess.run([self.tree / "launch/quickstart.sh", *words], capture_output=True, text=True, check=False, start_new_session=True,
                              env={**os.environ, "PATH": path, **environment})  # fmt: skip
        calls = self.tree / "calls"
        return done, calls.read_text().splitlines() if calls.exists() else []

    def test_the_screen_has_a_line_a_stage_and_the_table_and_a_second_call_repeats_nothing(self):
        done, calls = self.run_it()
        self.assertEqual(done.returncode, 0, done.stderr)
        first, *stages = done.stderr.splitlines()
        self.assertIn(f"{self.tree}/build/quickstart; its folder logs", first)
        for line in stages:
            self.assertRegex(line, r"^  [a-z-]+ +[A-Z0-9a-z ,-]+ +\d+\.\d s$")
        self.assertEqual(len(stages), 12)
        self.assertRegex(done.stdout, r"exact answers of 100 +0 +100 +100\n")
        self.assertIn("parallel.backend", (self.tree / "build/quickstart/logs/merge.log").read_text())
        self.assertEqual(calls[:2], ["train overwrite=true tensor=", "train overwrite=true tensor=2"])

        again, calls = self.run_it()
        self.assertEqual((again.returncode, calls), (0, []), again.stderr)
        self.assertEqual(len(re.findall(r" done$", again.stderr, re.MULTILINE)), 10)
        self.assertRegex(again.stdout, r"exact answers of 100 +0 +100 +100\n")

    def test_a_failed_stage_says_why_and_where_its_log_is_with_its_status_and_the_next_call_continues_it(self):
        done, _ = self.run_it(FAILS="merge")
        log = self.tree / "build/quickstart/logs/merge.log"
        self.assertEqual(done.returncode, 65)
        self.assertEqual(done.stderr.splitlines()[-1], "quickstart: stage 'merge' failed (status 65): shardora: [rank 0] "
                         f"x.cfg: no such thing; expected another. Its log is {log}")  # fmt: skip
        done, calls = self.run_it()
        self.assertEqual((done.returncode, calls[0]), (0, "merge overwrite=true tensor="), done.stderr)

    def test_a_stopped_training_is_continued_unless_its_options_have_changed(self):
        self.run_it(FAILS="train")
        _, calls = self.run_it(FAILS="train")
        self.assertEqual(calls, ["train overwrite=false tensor="])
        _, calls = self.run_it("--ranks", "3", FAILS="train")
        self.assertEqual(calls, ["train overwrite=true tensor="])

    def test_an_interrupted_call_says_that_the_same_command_continues(self):
        done, _ = self.run_it(INTERRUPTS="train")
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1]),
                         (130, "quickstart: interrupted; the same command continues"))  # fmt: skip

    def test_another_tool_that_fails_is_quoted(self):
        self.program("bin/cmake", "#!/bin/sh\necho 'CMake Error at x'\necho '  no compiler'\nexit 3\n")
        done, _ = self.run_it()
        self.assertEqual(done.returncode, 3)
        self.assertIn("CMake Error at x\n  no compiler\n", done.stderr)

    def test_a_warning_is_shown(self):
        done, _ = self.run_it(WARNS="the data is odd")
        self.assertEqual(len(re.findall(r"^    shardora: \[rank 0\] warning: the data is odd$", done.stderr, re.M)), 9)
        self.assertNotIn("removed", done.stderr)

    def test_a_missed_target_is_a_failure(self):
        self.program("build/release/shardora", PROGRAM.replace("[7] if base else answer", "[7]"))
        done, _ = self.run_it()
        self.assertEqual(done.returncode, 1)
        self.assertIn("quickstart: the adapted model answers 0 of 100 questions, expected 80% or more", done.stderr)

    def test_smollm2_has_its_own_model(self):
        done, _ = self.run_it("--smollm2", "--model", str(self.tree))
        self.assertEqual(done.returncode, 64)
        self.assertRegex(done.stderr, r"^quickstart: --smollm2 brings its own model and data: [^\n]+\n$")


if __name__ == "__main__":
    unittest.main()
