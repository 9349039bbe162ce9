"""The answer on top: did it work, is it done, what did it cost."""

import os
import socket
from dataclasses import dataclass

import numpy as np

from shardora.report import units

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
_SILENT_SECONDS = 600  # without a new line a run counts as ended unless its steps are longer than a twentieth of this


@dataclass
class State:
    kind: str
    text: str


def _holder_is_dead(holder):
    """Of a holder on this host: whether its process is gone. Of another host nothing is known."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("process"), int):
        return False
    return not os.path.exists(f"/proc/{holder['process']}")


def state_of(run):
    """A start writes its name into run.lock and a clean end empties it, so exit.json is the last start's where
    run.lock is empty."""
    last = int(run.step[-1])
    at = f"step {last:,} of {run.wanted_steps:,}"
    seconds = run.column("seconds")
    patience = max(_SILENT_SECONDS, 20 * float(np.nanmedian(seconds)) if seconds is not None else 0)
    if run.holder and not _holder_is_dead(run.holder) and run.age < patience:
        return State(RUNNING, f"Running, {at}")
    if run.holder or not run.exit:
        return State(
            FAILED,
            f"Ended without a word at {at}: killed, or its host was lost. "
            "The same command continues from the last checkpoint",
        )
    status, reason = run.exit.get("status"), str(run.exit.get("reason", ""))
    if status == 0:
        return State(DONE, f"Finished, {at}" + (" (stopped early: no more gain)" if last < run.wanted_steps else ""))
    if status == 75:
        return State(STOPPED, f"Stopped at {at}: {reason}. The same command continues")
    return State(FAILED, f"Failed with status {status} at {at}: {reason}")


def training_seconds(run):
    """Of the steps that count, by step line: a line stands for all steps since the line before."""
    seconds = run.columns.get("seconds")
    if seconds is None:
        return np.zeros(len(run.step))
    return np.nan_to_num(seconds) * np.diff(run.step, prepend=0)


@dataclass
class Attempt:
    begin: float
    first: int  # step before its first
    last: int
    seconds: float
    data: int
    tensor: int


def attempts_of(run):
    """The starts, each with the steps of it that count: those up to where the next one continued."""
    seconds, ends = training_seconds(run), [start.first_step for start in run.logs.starts[1:]] + [int(run.step[-1])]
    found = []
    for start, end in zip(run.logs.starts, ends):
        own = seconds[(run.step > start.first_step) & (run.step <= end)]
        found.append(Attempt(start.begin, start.first_step, end, float(own.sum()), start.data, start.tensor))
    return found


def rank_seconds(run):
    return sum(attempt.seconds * attempt.data * attempt.tensor for attempt in attempts_of(run))


def tokens(run):
    counts = run.columns.get("tokens")
    return 0 if counts is None else float((np.nan_to_num(counts) * np.diff(run.step, prepend=0)).sum())


def speed(run):
    """Tokens a second over the whole run."""
    total = training_seconds(run).sum()
    return tokens(run) / total if total > 0 else np.nan


def seconds_left(run):
    recent = training_seconds(run)[-50:].sum()
    steps = run.step[-1] - (run.step[-51] if len(run.step) > 50 else 0)
    return (run.wanted_steps - run.step[-1]) * recent / steps if steps > 0 else np.nan


def loss_ends(run, share=0.05):
    """Mean training loss of the first and the last twentieth of the steps."""
    loss = run.columns.get("loss", np.array([np.nan]))
    count = max(1, int(len(loss) * share))
    ends = [part[np.isfinite(part)] for part in (loss[:count], loss[-count:])]
    return tuple(float(part.mean()) if len(part) else np.nan for part in ends)


def clip_norm(run):
    """0 where nothing is clipped."""
    try:
        return float(run.config.get("train.clip_norm", 0))
    except ValueError:
        return 0.0


def notices(run):
    """What a reader should know before trusting the curves."""
    found = []
    for name in ("loss", "gradient_norm"):
        values = run.columns.get(name)
        if values is not None and not np.isfinite(values).all():
            found.append(f"{name} is not finite at step {int(run.step[~np.isfinite(values)][0]):,}")
    first, last = loss_ends(run)
    if len(run.step) >= 20 and last >= first:
        found.append(f"The training loss has not fallen: {first:.4g} at the beginning, {last:.4g} now")
    for name, one in run.evaluations.items():
        best = one.best()
        if best is not None and best < len(one.loss) - 1 and one.loss[-1] > one.loss[best] * 1.005:
            found.append(
                f"{name}: the loss was lowest at step {one.step[best]:,} ({one.loss[best]:.4g}) and is "
                f"{one.loss[-1]:.4g} now; train.save_best = true keeps the best, fewer steps may do"
            )
    clip, norm = clip_norm(run), run.column("gradient_norm")
    if clip > 0 and norm is not None and len(norm) >= 20 and (share := float(np.mean(norm > clip))) > 0.5:
        found.append(f"Gradients were clipped at {units.share(share)} of the steps (train.clip_norm = {clip:g})")
    return found + run.logs.warnings
