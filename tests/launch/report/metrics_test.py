"""metrics.jsonl as it may be found: whole, growing, torn, damaged, cut by a resume."""

import os
import pathlib
import tempfile
import unittest

import made_run

from shardora.errors import Error
from shardora.report import metrics
from shardora.report.metrics import GrowingFile


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "metrics.jsonl"


class Reading(InFolder):
    def refuses(self, text, pattern):
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with self.assertRaisesRegex(Error, pattern) as caught:
            metrics.read(self.path)
        self.assertEqual(caught.exception.status, 65)

    def test_lines_come_back_as_they_were_written(self):
        written = made_run.lines(7)
        self.path.write_text(made_run.text_of(written))
        self.assertEqual(metrics.read(self.path), written)

    def test_half_written_last_line_is_not_read(self):
        written = made_run.lines(2)
        whole = made_run.text_of(written)
        for torn in ('{"step": 3, "lo', '{"step": 3, "loss": 1.0}', "\xc3"):
            self.path.write_text(whole + torn)
            self.assertEqual(metrics.read(self.path), written)

    def test_damage_is_named_by_file_and_line(self):
        good = made_run.text_of(made_run.lines(2))
        self.refuses(good + "loss: 3\n" + good, r"metrics\.jsonl:3: 'loss: 3' is not JSON")
        self.refuses(good + '{"step": 3, "loss\n', r"metrics\.jsonl:3: .* is not JSON")
        self.refuses(good + "[1]\n", r"metrics\.jsonl:3: no whole number `step`")
        self.refuses(good + '{"loss": 1}\n', r"metrics\.jsonl:3: no whole number `step`")
        self.refuses(good + '{"step": true}\n', r"metrics\.jsonl:3: no whole number `step`")
        self.refuses(good + '{"step": 3, "loss": "low"}\n', r'metrics\.jsonl:3: loss is "low", expected a number')
        self.refuses(good + '{"step": 3, "phases": {"data": []}}\n', r"metrics\.jsonl:3: phases.data is \[\]")
        self.refuses(good + '{"step": 3, "loss": 1' + 400 * "0" + "}\n", r"metrics\.jsonl:3: loss is 1000")
        self.refuses(good + '{"step": 3, "eval_name": 7, "eval_loss": 1}\n', r"metrics\.jsonl:3: eval_name is 7")
        self.refuses(good.encode() + b"\xff\xfe\n", r"metrics\.jsonl:3: is not UTF-8")

    def test_what_is_not_finite_becomes_none(self):
        self.path.write_text('{"step":1,"loss":NaN,"gradient_norm":null,"phases":{"data":-Infinity}}\n')
        self.assertEqual(
            metrics.read(self.path), [{"step": 1, "loss": None, "gradient_norm": None, "phases": {"data": None}}]
        )


class Growing(InFolder):
    def append(self, text):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)

    def test_lines_come_once_and_only_whole(self):
        growing = GrowingFile(self.path)
        self.addCleanup(growing.close)
        self.assertEqual(growing.new_lines(), [])
        self.append("a\nb")
        self.assertEqual(growing.new_lines(), [(1, b"a")])
        self.assertEqual(growing.new_lines(), [])
        self.append("c\n")
        self.assertEqual(growing.new_lines(), [(2, b"bc")])

    def test_another_file_of_the_name_is_read_from_its_start(self):
        growing = GrowingFile(self.path)
        self.addCleanup(growing.close)
        self.append("a\nb\ntorn")
        growing.new_lines()
        self.append("\nlate\n")  # written before the cut, read after it
        cut = self.path.with_suffix(".tmp")
        cut.write_text("a\nz\n")
        os.replace(cut, self.path)
        self.assertEqual(growing.new_lines(), [(3, b"torn"), (4, b"late"), (1, b"a"), (2, b"z")])

    def test_a_file_cut_in_place_is_read_from_its_start(self):
        growing = GrowingFile(self.path)
        self.addCleanup(growing.close)
        self.append("a\nb\nc\n")
        growing.new_lines()
        self.path.write_text("a\n")
        self.assertEqual(growing.new_lines(), [(1, b"a")])


if __name__ == "__main__":
    unittest.main()
