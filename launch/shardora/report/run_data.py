"""What a run's folder says: metrics as columns, configuration, how it went and how it ended."""

import json
import os
from dataclasses import dataclass, field

import numpy as np

from shardora.errors import Error
from shardora.report import metrics_file
from shardora.report.config_file import read_config, read_text
from shardora.report.logs import Logs, read_logs

PHASES = ("data", "forward", "backward", "norms", "reductions", "optimizer")


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
    holder: dict  # who is at work in the folder; {} where nobody is
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
    lines = metrics_file.read(path) if os.path.exists(path) else []
    steps, evaluations = (
        [line for line in lines if metrics_file.kind_of(line) == kind]
        for kind in (metrics_file.STEP, metrics_file.EVALUATION)
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
            {line["step"]: line[metrics_file.LAYERS] for line in evaluations if metrics_file.LAYERS in line}.items()
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
