"""Whether a run worked, whether it is done, what it cost: the figures at the top of a page, and what they are made of."""

import math
import os
import socket
from dataclasses import dataclass

import numpy as np

from shardora.report import units
from shardora.report.units import figure

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
            f"Ended without an exit status at {at}: killed, or its host was lost. "
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


def last_of(run, name):
    values = run.column(name)
    return None if values is None else float(values[np.isfinite(values)][-1])


def losses(run):
    first, last = loss_ends(run)
    yield "Training loss", figure(last), f"from {figure(first)}; means of the first and last 5 % of the steps"
    for name, one in run.evaluations.items():
        best = one.best()
        if best is None:
            continue
        detail = (
            f"perplexity {figure(one.perplexity[-1])}, step {one.step[-1]:,}; best {figure(one.loss[best])} at step "
            f"{one.step[best]:,}"
        )
        yield f"Loss on {name}", figure(one.loss[-1]), detail


def costs(run):
    seconds, ranks = training_seconds(run).sum(), rank_seconds(run)
    attempts = attempts_of(run)
    detail = f"{units.duration(ranks)} summed over ranks" if ranks > 0 else ""
    if len(attempts) > 1:
        detail += f"; {len(attempts)} starts"
    yield "Training time", units.duration(seconds), detail
    yield "Tokens", units.scaled(tokens(run)), f"in {int(run.step[-1]):,} steps"
    use = last_of(run, "model_flops_utilisation")
    flops = last_of(run, "model_flops_per_second")
    detail = f"{units.scaled(flops, 'FLOP/s')} a rank at the end" if flops else ""
    yield ("Tokens a second", units.scaled(speed(run)), detail + (f", {units.share(use)} of the peak" if use else ""))
    memory = run.column("peak_memory_bytes")
    if memory is not None:
        yield "Peak memory", units.memory(float(np.nanmax(memory))), "of rank 0"


def adapter(run):
    if run.logs.parameters:
        total, trained = run.logs.parameters
        method, rank = run.config.get("adapter.method", ""), run.config.get("adapter.rank", "")
        detail = f"{units.share(trained / total)} of {units.scaled(total)}" if method != "full" else "all weights"
        yield (
            "Trained parameters",
            units.scaled(trained),
            f"{detail}; {method}" + (f", rank {rank}" if rank and method != "full" else ""),
        )
    drift, largest = last_of(run, "magnitude_drift.mean"), last_of(run, "magnitude_drift.max")
    if drift is not None and largest is not None:
        yield "Magnitude drift", units.share(drift), f"mean of |m / m0 - 1|; largest {units.share(largest)}"


def tiles(run, state):
    found = [*losses(run), *costs(run), *adapter(run)]
    if state.kind == RUNNING and math.isfinite(left := seconds_left(run)):
        found.insert(0, ("Time left", units.duration(left), "at the speed of the last steps"))
    return found
