"""TensorBoard's own reader finds the file's values at their steps."""

import math
import pathlib
import tempfile
import unittest

import made_run

ABSENT = made_run.needs("numpy", "plotly", "safetensors", "jinja2", "tensorboardX")
NO_READER = ABSENT or made_run.needs("tensorboard")


@unittest.skipIf(NO_READER, NO_READER)
class EventFiles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.run_folder = made_run.make(self.folder / "run", steps=30)
        self.events = self.folder / "events"

    def write(self, *arguments):
        done = made_run.run_script("shardora-report", *arguments, "--tensorboard", self.events, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    def scalars(self, name="run"):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        reader = EventAccumulator(str(self.events / name), size_guidance={"scalars": 0})
        reader.Reload()
        return {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}

    def same(self, events, wanted):
        self.assertEqual([event.step for event in events], list(wanted))
        for event in events:
            self.assertTrue(math.isclose(event.value, wanted[event.step], rel_tol=1e-7), (event, wanted[event.step]))

    def test_values_and_steps_are_those_of_the_file(self):
        self.write(self.run_folder)
        found = self.scalars()
        lines = [made_run.step_line(step) for step in range(1, 31)]
        for tag, value in (
            ("train/loss", lambda line: line["loss"]),
            ("train/learning_rate", lambda line: line["learning_rate"]),
            ("train/gradient_norm", lambda line: line["gradient_norm"]),
            ("train/peak_memory_bytes", lambda line: line["peak_memory_bytes"]),
            ("magnitude_drift/max", lambda line: line["magnitude_drift"]["max"]),
            ("phases/backward", lambda line: line["phases"]["backward"]),
        ):
            self.same(found[tag], {line["step"]: value(line) for line in lines})
        self.same(found["eval_held_out/loss"], {step: 3 + 1 / step for step in range(3, 31, 3)})
        self.same(found["eval_stories/loss"], {step: 2 + 1 / step for step in range(3, 31, 3)})
        times = [event.wall_time for event in found["train/loss"]]
        self.assertAlmostEqual(times[-1] - times[0], sum(line["seconds"] for line in lines[1:]), delta=0.01)

    def test_what_is_not_finite_is_left_out(self):
        lines = [made_run.step_line(1), made_run.step_line(2, loss=None), made_run.step_line(3)]
        (self.run_folder / "metrics.jsonl").write_text(made_run.text_of(lines))
        self.write(self.run_folder)
        self.assertEqual([event.step for event in self.scalars()["train/loss"]], [1, 3])

    def test_again_takes_the_place_of_the_earlier_files(self):
        self.write(self.run_folder)
        self.write(self.run_folder)
        self.assertEqual(len(list((self.events / "run").iterdir())), 1)
        self.assertEqual(len(self.scalars()["train/loss"]), 30)
        self.assertEqual([path.name for path in self.events.iterdir()], ["run"])

    def test_several_runs_have_a_folder_each(self):
        made_run.make(self.folder / "other", steps=4)
        self.write("--compare", "run", "other")
        self.assertEqual(len(self.scalars("other")["train/loss"]), 4)


@unittest.skipIf(ABSENT, ABSENT)
class Refused(unittest.TestCase):
    def test_a_file_in_the_way_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            run = made_run.make(pathlib.Path(folder) / "run")
            place = pathlib.Path(folder) / "taken"
            place.write_text("")
            done = made_run.run_script("shardora-report", run, "--tensorboard", place)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (73, 1), done.stderr)


if __name__ == "__main__":
    unittest.main()
