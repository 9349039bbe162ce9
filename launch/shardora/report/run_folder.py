"""Reads a run's folder: metrics as columns, configuration, logs, checkpoints and exit status."""

import glob
import json
import os
import re
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from shardora.errors import INPUT_OUTPUT, Error
from shardora.report import metrics

PHASES = ("data", "forward", "backward", "norms", "reductions", "optimizer")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d) (.*)")
_RESUMED = re.compile(r"continues from (.*) at step (\d+) of \d+")
_HELLO = re.compile(r"(\d+) steps of \d+ sequences, data parallel (\d+) x tensor parallel (\d+)")
_PARAMETERS = re.compile(r"(\d+) parameters, (\d+) trained")
_LONGEST = 200  # lines of a log that are shown
_MOST_WARNINGS = 20


class NoStepYet(Error):
    """A run that has logged no step: an end for a report, a reason to wait for who watches."""


@dataclass
class Evaluations:
    """One named set's, by step. Its parts are of equal length."""

    step: list = field(default_factory=list)
    loss: list = field(default_factory=list)
    perplexity: list = field(default_factory=list)

    def best(self):
        """Index of the lowest loss; None where none is finite."""
        finite = [k for k, loss in enumerate(self.loss) if np.isfinite(loss)]
        return min(finite, key=lambda k: self.loss[k]) if finite else None


@dataclass
class Start:
    """One attempt at the run."""

    begin: float  # seconds since 1970
    first_step: int  # the checkpoint's that it continues from; 0: from the start
    data: int
    tensor: int


@dataclass
class Logs:
    starts: list = field(default_factory=list)
    wanted_steps: int = 0
    parameters: tuple = ()  # all, trained
    warnings: list = field(default_factory=list)
    tails: dict = field(default_factory=dict)  # file's name -> last lines


@dataclass
class Run:
    folder: str
    name: str
    columns: dict  # name of a number in step lines -> float64 [steps]; NaN where it is absent or not finite
    evaluations: dict  # name -> Evaluations
    layer_drift: list  # (step, mean drift by layer)
    config: dict  # section.key -> value
    result: dict  # result.json, {} before the end
    exit: dict  # exit.json, {} where there is none
    attempts: object  # attempts.json, None where there is none
    holder: dict  # content of run.lock; {} where no process runs
    checkpoints: dict  # step -> manifest
    logs: Logs
    age: float  # seconds since the last sign of life: a line, or the start of who is at work

    @property
    def step(self):
        return self.columns["step"]

    def column(self, name):
        values = self.columns.get(name)
        return None if values is None or not np.isfinite(values).any() else values

    @property
    def wanted_steps(self):
        steps = self.config.get("train.steps", "0")
        if steps.isdigit() and int(steps) > 0:
            return int(steps)
        return self.logs.wanted_steps or int(self.step[-1])


def read_text(path):
    """The file's text, None where there is none. Bytes that are no UTF-8 are replaced."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise Error(f"{path}: {problem.strerror}", INPUT_OUTPUT) from None


def read_config(path):
    """The INI form of config.resolved.cfg as section.key -> value."""
    section, config = "", {}
    for line in (read_text(path) or "").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1] + "."
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            config[section + key.strip()] = value.strip()
    return config


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

    def rank(path):
        return int(re.sub(r"\D", "", os.path.basename(path)) or 0)

    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "rank-*.log")), key=rank):
        try:
            lines = (read_text(path) or "").splitlines()
        except Error:  # a log is no condition of a report
            continue
        if rank(path) == 0:
            _read_first_rank(lines, logs)
        logs.tails[os.path.basename(path)] = "\n".join(lines[-_LONGEST:])
        found = [line for line in lines if "] warning: " in line or "] error: " in line]
        logs.warnings += found[-_MOST_WARNINGS:]
    return logs


def _flat(line, prefix=""):
    for key, value in line.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, str)):
            yield prefix + key, value


def columns_of(lines):
    """Step lines as columns; nested keys are joined by dots."""
    flat = [dict(_flat(line)) for line in lines]
    names = dict.fromkeys(name for line in flat for name in line)
    return {name: np.array([line.get(name) for line in flat], dtype=np.float64) for name in names}


def evaluations_of(lines):
    """The last one counts where a step was evaluated twice, as early stopping does at its end."""
    found = {}
    for line in {(line["step"], line.get("eval_name")): line for line in lines}.values():
        one = found.setdefault(line.get("eval_name") or "evaluation", Evaluations())
        one.step.append(line["step"])
        one.loss.append(np.nan if line["eval_loss"] is None else line["eval_loss"])
        one.perplexity.append(line.get("eval_perplexity") or np.nan)
    return found


def read_json(path, otherwise):
    """`otherwise` where the file is absent or empty."""
    text = read_text(path)
    if not text or not text.strip():
        return otherwise
    try:
        value = json.loads(text)
    except ValueError:
        raise Error(f"{path}: is not JSON, expected what shardora train writes; remove it") from None
    if isinstance(otherwise, dict) and not isinstance(value, dict):
        raise Error(f"{path}: is no JSON object, expected what shardora train writes; remove it")
    return value


def read_checkpoints(folder):
    """The manifests of whole checkpoints by step; one that is being written or removed just now is none."""
    found = {}
    parent = os.path.join(folder, "checkpoints")
    for name in os.listdir(parent) if os.path.isdir(parent) else []:
        step = name.removeprefix("step-")
        if name.startswith("step-") and step.isdigit():
            manifest = read_json(os.path.join(parent, name, "manifest.json"), {})
            if manifest:
                found[int(step)] = manifest
    return dict(sorted(found.items()))


def _require_run(folder):
    if not os.path.isdir(folder):
        raise Error(f"{folder}: is no folder, expected the output.dir of shardora train")
    if not any(os.path.exists(os.path.join(folder, name)) for name in ("metrics.jsonl", "config.resolved.cfg")):
        raise Error(
            f"{folder}: holds neither metrics.jsonl nor config.resolved.cfg, expected the output.dir "
            "of shardora train; name that folder"
        )


def _require_rising(steps, path):
    for before, after in zip(steps, steps[1:]):
        if after["step"] <= before["step"]:
            raise Error(
                f"{path}: step {after['step']} follows step {before['step']}, expected rising steps, as one run writes "
                "them; were two runs' files joined?"
            )


def read_run(folder, now):
    _require_run(folder)
    path = os.path.join(folder, "metrics.jsonl")
    lines = metrics.read(path) if os.path.exists(path) else []
    steps, evaluations = (
        [line for line in lines if metrics.kind_of(line) == kind] for kind in (metrics.STEP, metrics.EVALUATION)
    )
    if not steps:
        raise NoStepYet(f"{path}: holds no step yet, expected one line a logged step; wait for the first one")
    _require_rising(steps, path)
    holder = read_json(os.path.join(folder, "run.lock"), {})
    started = holder.get("started")
    return Run(
        folder=folder,
        name=os.path.basename(os.path.abspath(folder)),
        columns=columns_of(steps),
        evaluations=evaluations_of(evaluations),
        layer_drift=list(
            {line["step"]: line[metrics.LAYERS] for line in evaluations if metrics.LAYERS in line}.items()
        ),
        config=read_config(os.path.join(folder, "config.resolved.cfg")),
        result=read_json(os.path.join(folder, "result.json"), {}),
        exit=read_json(os.path.join(folder, "exit.json"), {}),
        attempts=read_json(os.path.join(folder, "attempts.json"), None),
        holder=holder,
        checkpoints=read_checkpoints(folder),
        logs=read_logs(os.path.join(folder, "logs")),
        age=now - max(os.path.getmtime(path), started if isinstance(started, (int, float)) else 0),
    )
