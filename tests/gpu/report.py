"""The figures of a run, what they had to be, and what was not measured and why: a table and a JSON file.

A figure with a goal holds or does not; without one it is only told. A part that could not be measured is no failure, and
no success either: it stays in the table with its reason.
"""
import json
import math

import goals

NOT_MEASURED, FAILED = "not measured", "FAILED"


class Report:
    def __init__(self, path=None):
        self.path, self.rows, self.details = path, [], {}

    def figure(self, part, what, value, unit="", goal=None):
        value = float(value)
        good = None if goal is None else math.isfinite(value) and goals.holds(goal, value)
        self._add(part=part, what=what, value=value, unit=unit, goal=goal and goals.text(goal), holds=good)

    def failed(self, part, what, why):
        """Something that had to work and did not, so that there is no figure."""
        self._add(part=part, what=what, holds=False, reason=str(why))

    def skipped(self, part, what, why):
        self._add(part=part, what=what, holds=None, reason=str(why))

    def keep(self, name, value):
        """For the JSON file alone."""
        self.details[name] = value
        self._save()

    def _add(self, **row):
        self.rows.append(row)
        print(self.line(row), flush=True)
        self._save()  # a run that is cut short leaves what it has

    def _save(self):
        if self.path:
            self.path.write_text(json.dumps(self.result(), indent=1) + "\n")

    def result(self):
        return dict(program="tests/gpu/run.sh", holds=not self.misses(), measured=len(self._measured()), rows=self.rows,
                    **self.details)

    def misses(self):
        return [row for row in self.rows if row["holds"] is False]

    def _measured(self):
        return [row for row in self.rows if "value" in row or row["holds"] is False]

    @staticmethod
    def line(row):
        if "value" in row:
            value = f"{row['value']:.6g} {row['unit']}".strip()
        else:
            value = FAILED if row["holds"] is False else NOT_MEASURED
        verdict = {True: "holds", False: "MISSED", None: ""}[row["holds"]] if "value" in row else row["reason"]
        verdict = " ".join(verdict.split())[:300]
        return f"| {row['part']} | {row['what']} | {value} | {row.get('goal') or ''} | {verdict} |"

    def table(self):
        return "\n".join(["| part | figure | value | goal | |", "| --- | --- | --- | --- | --- |"] +
                         [self.line(row) for row in self.rows])

    def status(self):
        """0: all that was measured holds. 1: something does not. 77: nothing was measured."""
        if self.misses():
            return 1
        return 0 if self._measured() else 77
