"""shardora-analyze: what the plots are made of, and what is refused."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from shardora import analyze
from shardora.errors import Error

COMMAND = pathlib.Path(sys.executable).parent / "shardora-analyze"
HAS_PLOTLY = importlib.util.find_spec("plotly") is not None
ROWS = [(0, 0, "q_proj", 1.0, 0.1), (0, 1, "v_proj", 3.0, 0.2), (5, 0, "q_proj", 2.0, 0.3), (5, 1, "v_proj", 0.0, 0.4)]


def table(folder, name="table.csv", rows=ROWS):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(",".join(analyze.COLUMNS) + "\n")
        for step, layer, projection, magnitude, direction in rows:
            file.write(f"{step},{layer},{projection},model.layers.{layer}.{projection},{magnitude},{direction},1\n")
    return path


class Scatter(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name

    def script(self, *words):
        return subprocess.run([COMMAND, "scatter", *words], capture_output=True, text=True)

    def refused(self, status, said, *words):
        done = self.script(*words)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(said, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_the_line_is_the_least_squares_fit(self):
        line = analyze.trend(analyze.read_table(table(self.folder)))
        # By hand: sums of squares 0.05 and 5, of products -0.2.
        self.assertAlmostEqual(line["correlation"], -0.4)
        self.assertAlmostEqual(line["slope"], -4)
        self.assertAlmostEqual(line["intercept"], 1.5 + 4 * 0.25)

    def test_there_is_no_line_through_one_point_or_one_direction(self):
        rows = analyze.read_table(table(self.folder))
        self.assertIsNone(analyze.trend(rows[:1])["slope"])
        self.assertIsNone(analyze.trend([{**row, "delta_d": 1.0} for row in rows])["correlation"])

    def test_projections_are_chosen_by_name(self):
        path = table(self.folder)
        self.assertEqual([row["delta_m"] for row in analyze.chosen(path, ["v_proj"])], [3, 0])
        with self.assertRaisesRegex(Error, "no row of k_proj"):
            analyze.chosen(path, ["k_proj"])

    @unittest.skipUnless(HAS_PLOTLY, "plotly is not installed")
    def test_a_page_holds_every_point_of_every_table(self):
        output = os.path.join(self.folder, "plot.html")
        few = table(self.folder, "few.csv", ROWS[:3])
        done = self.script("--output", output, "DoRA=" + table(self.folder), "few=" + few)
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual((told["DoRA"]["points"], told["few"]["points"]), (4, 3))
        self.assertAlmostEqual(told["DoRA"]["correlation"], -0.4)
        figure, _ = analyze.draw({"DoRA": analyze.read_table(table(self.folder)), "few": analyze.read_table(few)}, [])
        points = [trace for trace in figure.data if trace.mode == "markers"]
        self.assertEqual(sum(len(trace.x) for trace in points), 7)
        self.assertEqual([title.text for title in figure.layout.annotations],
                         ["DoRA: correlation -0.4, slope -4", "few: correlation 0.5, slope 5"])
        with open(output, encoding="utf-8") as file:
            page = file.read()
        self.assertIn("correlation -0.4", page)
        self.assertNotIn("cdn.plot.ly/plotly", page.split("</script>")[0][:200])
        self.assertEqual(sorted(os.listdir(self.folder)), ["few.csv", "plot.html", "table.csv"])

    def test_bad_input_is_one_line(self):
        output = os.path.join(self.folder, "plot.html")
        other = os.path.join(self.folder, "other.csv")
        pathlib.Path(other).write_text("a,b\n1,2\n")
        broken = table(self.folder, "broken.csv", [(0, 0, "q_proj", "nan", 0.1)])
        self.refused(64, "expected NAME=CSV", "--output", output, "table.csv")
        self.refused(64, "--output", "a=b")
        self.refused(65, "expected a table", "--output", output, "a=" + os.path.join(self.folder, "none.csv"))
        self.refused(65, "a table of shardora analyze", "--output", output, "a=" + other)
        self.refused(65, "broken.csv, line 2", "--output", output, "a=" + broken)
        self.assertFalse(os.path.exists(output))
        if HAS_PLOTLY:
            self.refused(73, "expected a place", "--output", os.path.join(self.folder, "no/plot.html"),
                         "a=" + table(self.folder))
        else:
            self.refused(69, "plotly is missing", "--output", output, "a=" + table(self.folder))


# Answers as the program does, and writes a table for each analysis.
STAND_IN = """#!{python}
import json, sys
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv[2:])
with open("{log}", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "train":
    print(json.dumps({{"eval": {{"loss": 2.5}}}}))
else:
    with open("{table}") as table, open(words["analyze.csv"], "w") as file:
        file.write(table.read())
    print(json.dumps(dict(points=4, mean_delta_m=1.5, mean_delta_d=0.25, correlation=-0.4, slope=-4)))
"""


class Study(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        self.log, self.program = os.path.join(self.folder, "log"), os.path.join(self.folder, "shardora")
        text = STAND_IN.format(python=sys.executable, log=self.log, table=table(self.folder))
        pathlib.Path(self.program).write_text(text)
        os.chmod(self.program, 0o755)
        self.output = os.path.join(self.folder, "study")

    def words(self, *more):
        return ["study", "--model", "m", "--train", "t", "--output", self.output, "--shardora", self.program, *more]

    def study(self, *more):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            analyze.main(self.words(*more))
        return said.getvalue()

    def test_the_three_runs_differ_in_method_and_rate_alone(self):
        result = json.loads(self.study("--steps", "8", "--", "--train.global_batch=3").splitlines()[-1])
        with open(self.log, encoding="utf-8") as file:
            lines = [line.split() for line in file]
        self.assertEqual([line[0] for line in lines], ["train", "analyze"] * 3)
        trained = [set(line) for line in lines[::2]]
        self.assertEqual(trained[1] ^ trained[2],
                         {"--adapter.method=lora", "--adapter.method=dora", f"--output.dir={self.output}/lora",
                          f"--output.dir={self.output}/dora"})
        self.assertLessEqual({"--train.steps=8", "--output.checkpoint_every=2", "--train.global_batch=3"}, trained[0])
        for method in analyze.METHODS:
            self.assertAlmostEqual(result[method]["q and v"]["correlation"], -0.4)
            self.assertEqual(result[method]["train"]["eval"]["loss"], 2.5)
        self.assertEqual(os.path.exists(os.path.join(self.output, "scatter.html")), HAS_PLOTLY)

    def test_a_study_goes_on_but_not_as_another_one(self):
        self.study("--steps", "8")
        self.study("--steps", "8")
        with self.assertRaisesRegex(Error, "with other options") as refused:
            self.study("--steps", "9")
        self.assertEqual(refused.exception.status, 73)

    def test_a_folder_of_others_and_a_failed_run_are_refused(self):
        with self.assertRaisesRegex(Error, "is not empty and no study's"):
            analyze.main(["study", "--model", "m", "--train", "t", "--output", self.folder, "--shardora", self.program])
        pathlib.Path(self.program).write_text("#!/bin/sh\nexit 65\n")
        with self.assertRaisesRegex(Error, "train ended with status 65") as refused:
            self.study()
        self.assertEqual(refused.exception.status, 65)


if __name__ == "__main__":
    unittest.main()
