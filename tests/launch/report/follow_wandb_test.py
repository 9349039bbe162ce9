"""The follower gives every line once, whatever happens to the file meanwhile."""

import json
import os
import pathlib
import tempfile
import threading
import time
import types
import unittest

import made_run

from shardora.errors import Error
from shardora.report import wandb


class Follower(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name) / "run"
        self.path = self.folder / "metrics.jsonl"
        self.sent = []

    def follower(self):
        made = wandb.Follower(self.folder, self.sent.append)
        self.addCleanup(made.close)
        return made

    def test_names_and_values_are_those_of_the_file(self):
        made_run.make(
            self.folder,
            metrics=made_run.text_of(
                [
                    made_run.step_line(3, loss=None),
                    made_run.evaluation_line(3, "stories", 2.5),
                    {"step": 4, "eval_loss": 1.5},
                ]
            ),
        )
        self.follower().poll()
        step, named, unnamed = self.sent
        self.assertEqual(step["step"], 3)
        self.assertEqual(step["train/phases/backward"], made_run.step_line(3)["phases"]["backward"])
        self.assertEqual(step["train/magnitude_drift/max"], 0.03)
        self.assertNotIn("train/loss", step)
        self.assertEqual((named["step"], named["stories/eval_loss"]), (3, 2.5))
        self.assertEqual(unnamed, {"step": 4, "eval/eval_loss": 1.5})

    def test_a_line_is_sent_when_it_is_whole(self):
        text = made_run.text_of(made_run.lines(3))
        made_run.make(self.folder, metrics="", status=None)
        follower = self.follower()
        for begin in range(0, len(text), 37):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(text[begin : begin + 37])
            follower.poll()
            self.assertEqual(len(self.sent), text[: begin + 37].count("\n"))

    def test_resume_sends_nothing_twice_and_leaves_nothing_out(self):
        made_run.make(self.folder, metrics=made_run.text_of(made_run.lines(7)) + '{"step": 8, "lo', status=None)
        follower = self.follower()
        follower.poll()
        cut = self.folder / "new"
        cut.write_text(made_run.text_of(made_run.lines(4)))
        os.replace(cut, self.path)
        self.assertEqual(follower.poll(), 0)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(made_run.text_of(made_run.lines(10)[len(made_run.lines(4)) :]))
        follower.poll()
        self.assertEqual(self.sent, [wandb.record(line) for line in made_run.lines(10)])

    def test_it_ends_with_the_run_and_has_its_last_lines(self):
        made_run.make(self.folder, steps=2, status=None)
        options = types.SimpleNamespace(dir=str(self.folder), once=False, every=0.02)
        thread = threading.Thread(target=wandb.follow, args=(options, self.sent.append))
        thread.start()
        time.sleep(0.2)
        self.assertTrue(thread.is_alive())
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(made_run.step_line(3)) + "\n")
        made_run.end(self.folder, 3, 0)
        thread.join(10)
        self.assertFalse(thread.is_alive())
        self.assertEqual([line["step"] for line in self.sent], [1, 2, 3])

    def test_damage_is_named_by_its_line(self):
        made_run.make(self.folder, metrics=made_run.text_of(made_run.lines(2)) + "oops\n")
        with self.assertRaisesRegex(Error, r"metrics\.jsonl:3: 'oops' is not JSON"):
            self.follower().poll()

    def test_bad_arguments_end_in_one_line_and_the_programs_status(self):
        for status, arguments in (
            (64, []),
            (64, ["--every", "0", "x"]),
            (64, ["--nonsense"]),
            (65, ["/nowhere"]),
            (65, [self.folder.parent, "--once"]),
        ):
            done = made_run.run_script("shardora-wandb", *arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (status, 1), done.stderr)
            self.assertTrue(done.stderr.startswith("shardora-wandb: "), done.stderr)

    @unittest.skipIf(made_run.needs("wandb"), "Python package wandb is missing")
    def test_wandb_keeps_the_run_offline(self):
        made_run.make(self.folder)
        done = made_run.run_script("shardora-wandb", self.folder, cwd=self.folder.parent)
        self.assertEqual(done.returncode, 0, done.stderr)
        (kept,) = self.folder.parent.glob("wandb/offline-run-*/run-*.wandb")
        self.assertIn(b"train/gradient_norm", kept.read_bytes())


if __name__ == "__main__":
    unittest.main()
