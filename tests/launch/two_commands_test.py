"""README's two commands in its order, in one tree: what the quickstart has configured does not keep run.sh from its tests."""

import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# run.sh's own functions, with cmake and ctest printing what they are called with.
CALLS = """
cmake() { printf 'cmake %s\\n' "$*"; }
ctest() { printf 'ctest %s\\n' "$*"; }
source tests/run.sh
build release
run_tests release
"""


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


class TwoCommands(unittest.TestCase):
    def test_the_release_tests_are_found_after_the_quickstart(self):
        quickstart = re.search(r"cmake (--preset release [^;]*);", (ROOT / "launch/quickstart.sh").read_text("utf-8"))[1]
        calls = [shlex.split(line) for line in output_of("bash", "-c", CALLS).splitlines()]
        configure = next(call for call in calls if call[0] == "cmake" and "--preset" in call and "--build" not in call)
        test = next(call for call in calls if call[0] == "ctest")
        with tempfile.TemporaryDirectory() as folder:
            output_of("cmake", *shlex.split(quickstart), "-B", folder)
            output_of(*configure, "-B", folder)
            listed = output_of("ctest", "--test-dir", folder, "-N")
        self.assertGreater(int(re.search(r"Total Tests: (\d+)", listed)[1]), 20)
        self.assertIn("--no-tests=error", test)


if __name__ == "__main__":
    unittest.main()
