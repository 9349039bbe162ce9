"""The report says what the run's files say, needs nothing from outside, and refuses in one line."""

import html.parser
import json
import math
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import made_run

ABSENT = made_run.needs("numpy", "plotly", "safetensors", "jinja2")
TAGS_THAT_FETCH = ("src", "href", "srcset", "data", "action", "poster")


class Page(html.parser.HTMLParser):
    """A written page: its figures, text, tables and what it would fetch."""

    def __init__(self, path):
        super().__init__()
        self.source = pathlib.Path(path).read_text("utf-8")
        self.fetched, self.ids, self.styles, self.text, self._at = [], [], "", "", ""
        self.feed(self.source)
        figures = re.search(r'<script type="application/json" id="figures">(.*?)</script>', self.source, re.S)[1]
        self.panels = {panel["id"]: panel for panel in json.loads(figures)}

    def handle_starttag(self, tag, attributes):
        self._at = tag
        self.fetched += [value for name, value in attributes if name in TAGS_THAT_FETCH and value != "data:,"]
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        if self._at == "style":
            self.styles += data
        elif self._at != "script":
            self.text += data + "\n"

    def trace(self, panel, name):
        return next(trace for trace in self.panels[panel]["traces"] if trace["name"] == name)


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def report(self, *arguments, page=None):
        done = made_run.run_script("shardora-report", *arguments, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return Page(page or pathlib.Path(arguments[0]) / "report.html")


@unittest.skipIf(ABSENT, ABSENT)
class OneRun(InFolder):
    def test_page_fetches_nothing(self):
        page = self.report(made_run.make(self.folder / "run"))
        self.assertEqual(page.fetched, [])
        self.assertNotRegex(page.styles, r"@import|url\(")
        self.assertLess(set(page.panels), set(page.ids))

    def test_values_are_those_of_the_file(self):
        page = self.report(made_run.make(self.folder / "run", steps=30))
        steps = [made_run.step_line(step) for step in range(1, 31)]
        for panel, trace, value in (
            ("loss", "training, each step", lambda line: line["loss"]),
            ("learning_rate", "learning rate", lambda line: line["learning_rate"]),
            ("gradient_norm", "norm, each step", lambda line: line["gradient_norm"]),
            ("throughput", "tokens/s, each step", lambda line: line["tokens_per_second"]),
            ("memory", "peak", lambda line: line["peak_memory_bytes"]),
            ("drift", "mean", lambda line: line["magnitude_drift"]["mean"]),
            ("drift", "largest", lambda line: line["magnitude_drift"]["max"]),
            *((("phases", name, lambda line, name=name: line["phases"][name])) for name in made_run.PHASES),
        ):
            found = page.trace(panel, trace)
            self.assertEqual(found["xs"]["steps"], list(range(1, 31)))
            self.assertEqual(found["y"], [value(line) for line in steps], trace)
        for name, offset in (("held out", 3), ("stories", 2)):
            found = page.trace("loss", name)
            self.assertEqual(found["xs"]["steps"], list(range(3, 31, 3)))
            self.assertEqual(found["y"], [offset + 1 / step for step in range(3, 31, 3)])

    def test_tokens_and_hours_count_the_steps_that_were_not_logged(self):
        logged = [made_run.step_line(step, tokens=100, seconds=36.0) for step in (10, 20, 30)]
        page = self.report(made_run.make(self.folder / "run", steps=30, metrics=made_run.text_of(logged)))
        found = page.trace("learning_rate", "learning rate")["xs"]
        self.assertEqual(found, {"steps": [10, 20, 30], "tokens": [1000, 2000, 3000], "hours": [0.1, 0.2, 0.3]})

    def test_long_run_has_few_points_and_all_spikes(self):
        phases = lambda step: {
            name: 0.1 + (step * k * 7 % 13) / 13 for k, name in enumerate(made_run.PHASES)
        }  # noqa: E731
        lines = [made_run.step_line(step, phases=phases(step)) for step in range(1, 5001)]
        lines[3333] = made_run.step_line(3334, loss=77.5, seconds=9.0, phases=dict.fromkeys(made_run.PHASES, 1.5))
        page = self.report(made_run.make(self.folder / "run", steps=5000, metrics=made_run.text_of(lines)))
        for panel in page.panels.values():
            for trace in panel["traces"]:
                self.assertLessEqual(len(trace.get("y", [])), 2000)
        self.assertIn(77.5, page.trace("loss", "training, each step")["y"])
        self.assertIn(1.5, page.trace("phases", "norms")["y"])
        self.assertEqual(len({tuple(trace["xs"]["steps"]) for trace in page.panels["phases"]["traces"]}), 1)

    def test_resumed_attempts_are_marked_and_told(self):
        page = self.report(made_run.make(self.folder / "run"))
        self.assertEqual(page.panels["loss"]["marks"]["steps"], [4])
        cost = sum(made_run.step_line(step)["seconds"] * (2 if step <= 4 else 4) for step in range(1, 10))
        self.assertIn(f"{cost:.1f} s summed over ranks; 2 starts", page.text)
        self.assertIn("the <first> warning", page.text)

    def test_state_says_how_it_ended(self):
        for status, words in (
            (0, "Finished, step 9 of 9"),
            (75, "Stopped at step 9 of 9: stopped by a signal"),
            (76, "Failed with status 76"),
            (None, "Running, step 9 of 9"),
        ):
            page = self.report(made_run.make(self.folder / f"run{status}", status=status))
            self.assertIn(words, page.text)

    def test_a_killed_run_is_not_called_running(self):
        folder = made_run.make(self.folder / "run", status=None)
        gone = subprocess.Popen(["true"])
        gone.wait()
        (folder / "run.lock").write_text(json.dumps({"host": socket.gethostname(), "process": gone.pid}))
        self.assertIn("Ended without an exit status at step 9 of 9", self.report(folder).text)

    def test_a_run_that_has_just_been_started_again_is_not_called_dead(self):
        folder = made_run.make(self.folder / "run", status=None)
        os.utime(folder / "metrics.jsonl", (0, 0))
        self.assertIn("Ended without an exit status", self.report(folder).text)
        (folder / "run.lock").write_text(json.dumps({"host": "elsewhere", "process": 1, "started": time.time()}))
        self.assertIn("Running, step 9 of 9", self.report(folder).text)

    def test_a_log_of_nonsense_is_no_fault(self):
        folder = made_run.make(self.folder / "run")
        (folder / "logs" / "rank-0.log").write_bytes(b"2026-99-26T02:01:55.145+00:00 [rank 0] x\n\xff\n")
        self.assertIn("Finished, step 9 of 9", self.report(folder).text)

    def test_what_is_not_finite_is_a_gap_and_told(self):
        lines = [made_run.step_line(step) for step in range(1, 31)]
        lines[20]["loss"] = None
        lines[21]["gradient_norm"] = math.inf
        page = self.report(made_run.make(self.folder / "run", metrics=made_run.text_of(lines)))
        found = page.trace("loss", "training, each step")["y"]
        self.assertEqual([k for k, value in enumerate(found) if value is None], [20])
        self.assertIn("loss is not finite at step 21", page.text)
        self.assertIn("gradient_norm is not finite at step 22", page.text)

    def test_half_written_last_line_is_no_fault(self):
        whole = made_run.text_of(made_run.lines(5))
        page = self.report(made_run.make(self.folder / "run", metrics=whole + '{"step": 6, "lo'))
        self.assertEqual(page.trace("learning_rate", "learning rate")["xs"]["steps"], [1, 2, 3, 4, 5])

    def test_logged_drift_by_layer_is_shown(self):
        lines = []
        for step, layers in ((1, [0.1, None, 0.3]), (2, [0.2, None, 0.4])):
            lines.append(made_run.step_line(step))
            for name in ("held out", "stories"):
                lines.append(made_run.evaluation_line(step, name, 2.0) | {"magnitude_drift_by_layer": layers})
        page = self.report(made_run.make(self.folder / "run", metrics=made_run.text_of(lines)))
        (found,) = page.panels["drift_by_layer"]["traces"]
        self.assertEqual(found["z"], [[0.1, 0.2], [None, None], [0.3, 0.4]])
        self.assertEqual(found["x"], ["1", "2"])

    def test_a_step_that_was_evaluated_twice_counts_once(self):
        lines = [made_run.step_line(1), made_run.evaluation_line(1, "a", 2.0), made_run.evaluation_line(1, "a", 2.0)]
        page = self.report(made_run.make(self.folder / "run", metrics=made_run.text_of(lines)))
        self.assertEqual(page.trace("loss", "a")["y"], [2.0])

    def test_text_of_the_run_stays_text(self):
        lines = [made_run.step_line(1), made_run.evaluation_line(1, "</script><b>bold", 2.0)]
        folder = made_run.make(self.folder / "run", metrics=made_run.text_of(lines))
        page = self.report(folder)
        self.assertNotIn("<b>bold", page.source)
        self.assertNotIn("<tiny>", page.source)
        self.assertIn("/models/<tiny> & co", page.text)
        self.assertEqual(page.trace("loss", "</script><b>bold")["y"], [2.0])


@unittest.skipIf(ABSENT, ABSENT)
class Refusals(InFolder):
    def refuses(self, status, pattern, *arguments):
        done = made_run.run_script("shardora-report", *arguments, cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (status, 1), done.stderr)
        self.assertRegex(done.stderr, "^shardora-report: .*" + pattern)
        self.assertFalse([path for path in self.folder.rglob("*") if "html" in path.name])

    def test_bad_input_ends_in_one_line_and_leaves_nothing(self):
        good = made_run.text_of(made_run.lines(3))
        made = lambda name, **how: made_run.make(self.folder / name, **how)  # noqa: E731
        (self.folder / "empty").mkdir()
        self.refuses(65, "/nowhere: is no folder", "/nowhere")
        self.refuses(65, "holds neither metrics.jsonl nor config.resolved.cfg", self.folder / "empty")
        self.refuses(65, "holds no step yet", made("none", metrics=""))
        self.refuses(65, "holds no step yet", made("torn", metrics='{"step": 1, "lo'))
        self.refuses(65, r"metrics\.jsonl:6: 'oops' is not JSON", made("bad", metrics=good + "oops\n"))
        steps = made_run.text_of([made_run.step_line(2), made_run.step_line(2)])
        self.refuses(65, "step 2 follows step 2, expected rising", made("twice", metrics=steps))
        broken = made("exit")
        (broken / "exit.json").write_text("{")
        self.refuses(65, "exit.json: is not JSON", broken)
        run = made("run")
        self.refuses(73, "cannot be written", run, "--output", self.folder / "no" / "such" / "page")
        self.refuses(64, "--watch is 0", run, "--watch", "0")
        self.refuses(64, "0 folders")
        self.refuses(64, "2 folders", run, run)
        self.refuses(64, "--compare has one folder", "--compare", run)
        self.refuses(64, "unrecognized arguments", run, "--pink")


class OwnFault(unittest.TestCase):
    def test_a_fault_of_the_scripts_is_one_line_that_says_where(self):
        code = (
            "import sys; from shardora import commands; sys.exit(commands.run('x', lambda _: 1 / 0, []))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (70, 1), done.stderr)
        self.assertIn("x: internal error at <string>:1: ZeroDivisionError('division by zero')", done.stderr)


@unittest.skipIf(ABSENT, ABSENT)
class Watching(InFolder):
    def test_watch_writes_until_the_run_ends(self):
        folder = made_run.make(self.folder / "run", metrics="", status=None)
        page = folder / "report.html"
        process = subprocess.Popen(
            [made_run.COMMANDS / "shardora-report", folder, "--watch", "1"], stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.kill)
        self.wait_until(lambda: "holds no step yet" in process.stderr.readline())
        (folder / "metrics.jsonl").write_text(made_run.text_of(made_run.lines(2)))
        self.wait_until(page.exists)
        self.assertIn('http-equiv="refresh" content="1"', page.read_text("utf-8"))
        (folder / "metrics.jsonl").write_text(made_run.text_of(made_run.lines(9)))
        made_run.end(folder, 9, 0)
        self.assertIn("Finished, step 9 of 9", process.communicate(timeout=60)[1])
        self.assertEqual(process.returncode, 0)
        self.assertNotIn("http-equiv", page.read_text("utf-8"))
        self.assertEqual(len(Page(page).trace("learning_rate", "learning rate")["y"]), 9)

    def test_interrupt_ends_a_watch_without_a_word(self):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background may have it ignored
        folder = made_run.make(self.folder / "run", status=None)
        process = subprocess.Popen(
            [made_run.COMMANDS / "shardora-report", folder, "--watch", "60"], stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.kill)
        self.wait_until((folder / "report.html").exists)
        process.send_signal(signal.SIGINT)
        self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("", 130))

    def wait_until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


@unittest.skipIf(ABSENT, ABSENT)
class Comparing(InFolder):
    def setUp(self):
        super().setUp()
        other = [made_run.step_line(step, loss=9.0 + step) for step in range(1, 41)]
        made_run.make(self.folder / "a" / "run", steps=30)
        made_run.make(self.folder / "b" / "run", steps=40, method="lora", metrics=made_run.text_of(other), status=75)
        self.page = self.report("--compare", "a/run", "b/run", page=self.folder / "comparison.html")

    def test_every_plot_has_both_runs_under_names_that_tell_them_apart(self):
        self.assertEqual(
            set(self.page.panels), {"loss", "learning_rate", "gradient_norm", "throughput", "memory", "phases", "drift"}
        )
        for name in ("loss", "learning_rate", "gradient_norm", "throughput", "memory", "drift"):
            self.assertLessEqual({"a/run", "b/run"}, {trace["name"] for trace in self.page.panels[name]["traces"]})
        self.assertEqual(self.page.trace("phases", "norms")["y"], ["a/run", "b/run"])
        rates = self.page.trace("learning_rate", "b/run")
        self.assertEqual(rates["y"], [made_run.step_line(step)["learning_rate"] for step in range(1, 41)])
        self.assertEqual(self.page.fetched, [])

    def test_only_keys_that_differ_are_listed_with_both_values(self):
        table = re.search(r'id="differing".*?</table>', self.page.source, re.S)[0]
        rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", table)
        self.assertEqual(rows, [("adapter.method", "dora", "lora"), ("train.steps", "30", "40")])

    def test_final_figures_are_those_of_each_run(self):
        table = re.search(r'id="figures_table".*?</table>', self.page.source, re.S)[0]
        rows = {row[0]: row[1:] for row in re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", table)}
        self.assertEqual(rows["steps"], ("30", "40"))
        self.assertEqual(rows["state"], ("Finished, step 30 of 30", "Stopped at step 40 of 40"))
        self.assertEqual(rows["best loss on stories"], ("2.0333 at step 30", "–"))
        self.assertEqual(rows["training loss, last 5 %"][1], "48.500")


if __name__ == "__main__":
    unittest.main()
