"""The archive that cpack makes: unpacked in a folder of any name it runs, with its own libraries.

    python3 archive_check.py BUILD
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop())


def output_of(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more).stdout


class Archive(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = pathlib.Path(folder.name)
        output_of("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", place / "packed")
        (archive,) = (place / "packed").glob("*.tar.gz")
        output_of("tar", "-xzf", archive, "-C", place)
        self.tree = place / "a folder of any name"
        (place / archive.name.removesuffix(".tar.gz")).rename(self.tree)

    def test_the_program_runs_with_the_libraries_beside_it(self):
        program = self.tree / "bin/shardora"
        libraries = output_of("ldd", program)
        for name in ("dnnl", "fmt", "spdlog", "boost_program_options", "xxhash"):
            (line,) = [line for line in libraries.splitlines() if line.strip().startswith(f"lib{name}.so")]
            self.assertIn(str(self.tree), line)
        model = ROOT / "tests/parity/golden/models/qwen2"
        result = json.loads(output_of(program, "inspect", f"--model.path={model}", cwd="/").splitlines()[-1])
        self.assertEqual(result["model"]["family"], "qwen2")

    def test_scripts_configurations_and_pages_are_there(self):
        share = self.tree / "share/shardora"
        for name in ("README.md", "LICENSE", "configs/finetune.cfg", "launch/install.sh", "launch/pyproject.toml",
                     "launch/shardora/data/prepare.py", "launch/shardora/report/templates/page.js", "launch/docs/keys.md"):
            self.assertTrue((share / name).is_file(), name)
        self.assertEqual(list(share.rglob("__pycache__")), [])


if __name__ == "__main__":
    unittest.main()
