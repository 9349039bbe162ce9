"""The report's own arithmetic: what holds, what is missed, what was not measured. Python's standard library alone."""
import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import goals
import operations
from report import Report


class AReport(unittest.TestCase):
    def filled(self, *rows, path=None):
        report = Report(path)
        with contextlib.redirect_stdout(io.StringIO()):
            for method, arguments in rows:
                getattr(report, method)(*arguments)
        return report

    def test_holds_where_every_measured_goal_does(self):
        report = self.filled(("figure", ("speed", "share", 0.75, "", "share_of_floor")),
                             ("skipped", ("speed", "other", "no time left")))
        self.assertEqual(report.status(), 0)
        self.assertIn("not measured", report.table())

    def test_misses_where_one_goal_does(self):
        report = self.filled(("figure", ("speed", "share", 0.7499, "", "share_of_floor")),
                             ("figure", ("steps", "loss", 1e-5, "", "float32_loss")))
        self.assertEqual(report.status(), 1)
        self.assertIn("MISSED", report.table())

    def test_never_takes_what_is_no_number_for_a_success(self):
        for goal in goals.GOALS:
            self.assertEqual(self.filled(("figure", ("", "", float("nan"), "", goal))).status(), 1, goal)

    def test_fails_where_something_broke(self):
        self.assertEqual(self.filled(("failed", ("operations", "a process", "ended with status 139"))).status(), 1)

    def test_is_skipped_where_nothing_was_measured(self):
        self.assertEqual(self.filled(("skipped", ("steps", "all", "no torch"))).status(), 77)

    def test_keeps_its_file_up_to_date(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            self.filled(("figure", ("speed", "a", 1.0)), ("keep", ("device", "H200")), path=path)
            self.assertEqual(json.loads(path.read_text())["device"], "H200")


class TestsOfTheDevice(unittest.TestCase):
    def test_are_read_with_their_results(self):
        suite = dict(name="Rope", testsuite=[
            dict(name="A", result="COMPLETED", time="0.5s", backend="cuda: device 0"),
            dict(name="B", result="COMPLETED", time="1s", failures=[dict(failure="wrong")]),
            dict(name="C", result="SKIPPED", time="0s")])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tests.json"
            path.write_text(json.dumps(dict(testsuites=[suite])))
            results = {t["name"]: t["result"] for t in operations.tests_of(path)}
        self.assertEqual(results, {"Rope.A": "COMPLETED", "Rope.B": "FAILED", "Rope.C": "SKIPPED"})


if __name__ == "__main__":
    unittest.main()
