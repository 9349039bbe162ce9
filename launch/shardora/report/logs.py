"""The logs of a run's ranks: its starts, what they warned of, and the last lines."""

import glob
import os
import re
from dataclasses import dataclass, field
from datetime import datetime

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d) (.*)")
_RESUMED = re.compile(r"continues from (.*) at step (\d+) of \d+")
_HELLO = re.compile(r"(\d+) steps of \d+ sequences, data parallel (\d+) x tensor parallel (\d+)")
_PARAMETERS = re.compile(r"(\d+) parameters, (\d+) trained")
_LONGEST = 200  # lines of a log that are shown
_MOST_WARNINGS = 20


@dataclass
class Start:
    """One attempt at the run."""

    begin: float  # seconds since 1970
    first_step: int  # the checkpoint's that it continues from; 0: from the start
    data: int
    tensor: int

    @property
    def ranks(self):
        return self.data * self.tensor


@dataclass
class Logs:
    starts: list = field(default_factory=list)
    wanted_steps: int = 0
    parameters: tuple = ()  # all, trained
    warnings: list = field(default_factory=list)
    tails: dict = field(default_factory=dict)  # file's name -> last lines


def _read_lines(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:  # a log is no condition of a report
        return []


def _stamped(line):
    """(seconds since 1970, text); of a line without a time, (None, "")."""
    if found := _STAMP.match(line):
        try:
            return datetime.fromisoformat(found[1]).timestamp(), found[2]
        except ValueError:  # digits, but no time
            pass
    return None, ""


def _read_first_rank(lines, logs):
    resumed, begin = 0, None
    for line in lines:
        time, text = _stamped(line)
        if found := _RESUMED.search(text):
            resumed, begin = int(found[2]), time
        elif found := _PARAMETERS.search(text):
            begin = begin or time
            logs.parameters = (int(found[1]), int(found[2]))
        elif found := _HELLO.search(text):
            logs.wanted_steps = int(found[1])
            logs.starts.append(Start(begin or time, resumed, int(found[2]), int(found[3])))
            resumed, begin = 0, None


def read_logs(folder):
    logs = Logs()
    rank = lambda path: int(re.sub(r"\D", "", os.path.basename(path)) or 0)  # noqa: E731
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "rank-*.log")), key=rank):
        lines = _read_lines(path)
        if rank(path) == 0:
            _read_first_rank(lines, logs)
        logs.tails[os.path.basename(path)] = "\n".join(lines[-_LONGEST:])
        told = [line for line in lines if "] warning: " in line or "] error: " in line]
        logs.warnings += told[-_MOST_WARNINGS:]
    return logs
