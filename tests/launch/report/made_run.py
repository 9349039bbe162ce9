"""Runs made up for the tests, laid out as shardora train leaves them; and the way to the scripts."""

import json
import os
import pathlib
import subprocess
import sys

COMMANDS = pathlib.Path(sys.executable).parent

PHASES = ("data", "forward", "backward", "norms", "reductions", "optimizer")
LOG = """2026-11-26T02:01:55.145+00:00 [rank 0] /models/tiny: 260032 parameters, 49240 trained (18.9 %)
2026-11-26T02:01:55.146+00:00 [rank 0] 9 steps of 8 sequences, data parallel 1 x tensor parallel 2; step 1 takes
2026-11-26T02:01:56.000+00:00 [rank 0] warning: the <first> warning
2026-11-26T02:02:11.636+00:00 [rank 0] continues from run/checkpoints/step-4 at step 4 of 9
2026-11-26T02:02:11.637+00:00 [rank 0] 9 steps of 8 sequences, data parallel 4 x tensor parallel 1; step 1 takes
"""
CONFIG = """[model]
path = /models/<tiny> & co

[adapter]
method = {method}
rank = 8

[train]
steps = {steps}
clip_norm = 1

[output]
dir = run
"""


def step_line(step, **changes):
    loss = 3 + 5 / (step + 1) + 0.01 * (step * 7919 % 13)
    line = {
        "step": step,
        "loss": loss,
        "learning_rate": 1e-3 / step,
        "gradient_norm": 0.1 + loss / 7,
        "tokens": 1000 + step,
        "seconds": 0.5 + 0.001 * (step % 5),
        "tokens_per_second": 2000.0 + step,
        "model_flops_per_second": 1e9,
        "peak_memory_bytes": 80000000 + step,
        "magnitude_drift": {"mean": 0.001 * step, "max": 0.01 * step},
        "phases": {name: 0.01 * (k + 1) + 0.0001 * step for k, name in enumerate(PHASES)},
    }
    return line | changes


def evaluation_line(step, name, loss):
    return {
        "step": step,
        "eval_name": name,
        "eval_loss": loss,
        "eval_perplexity": 2.718281828459045**loss,
        "eval_tokens": 500,
    }


def lines(steps):
    """Every third step is evaluated on two sets."""
    found = []
    for step in range(1, steps + 1):
        found.append(step_line(step))
        if step % 3 == 0:
            found += [evaluation_line(step, "held out", 3 + 1 / step), evaluation_line(step, "stories", 2 + 1 / step)]
    return found


def text_of(found):
    return "".join(json.dumps(line) + "\n" for line in found)


def make(folder, steps=9, method="dora", metrics=None, status=0):
    """`metrics`: the file's text in place of made-up lines. `status` None: still at work."""
    folder = pathlib.Path(folder)
    (folder / "logs").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(text_of(lines(steps)) if metrics is None else metrics, "utf-8")
    (folder / "config.resolved.cfg").write_text(CONFIG.format(method=method, steps=steps), "utf-8")
    (folder / "logs" / "rank-0.log").write_text(LOG, "utf-8")
    end(folder, steps, status)
    return folder


def end(folder, steps, status):
    holder = {"host": "a-host-elsewhere", "process": 1, "started": 0}
    (folder / "run.lock").write_text(json.dumps(holder) if status is None else "", "utf-8")
    if status is not None:
        reason = "done" if status == 0 else "stopped by a signal or a time limit"
        (folder / "exit.json").write_text(json.dumps({"status": status, "reason": reason, "step": steps}), "utf-8")


def run_script(name, *arguments, cwd=None):
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [COMMANDS / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )


def needs(*packages):
    """The reason to skip, or None where all packages are there."""
    absent = []
    for package in packages:
        try:
            __import__(package)
        except ModuleNotFoundError:
            absent.append(package)
    return f"Python packages {', '.join(absent)} are missing: launch/install.sh report" if absent else None
