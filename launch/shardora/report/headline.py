"""The figures on top of the page, one tile each: (label, value, detail)."""

import math

import numpy as np

from shardora.report import units, verdict
from shardora.report.units import figure


def last_of(run, name):
    values = run.column(name)
    return None if values is None else float(values[np.isfinite(values)][-1])


def losses(run):
    first, last = verdict.loss_ends(run)
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
    seconds, ranks = verdict.training_seconds(run).sum(), verdict.rank_seconds(run)
    attempts = verdict.attempts_of(run)
    detail = f"{units.duration(ranks)} summed over ranks" if ranks > 0 else ""
    if len(attempts) > 1:
        detail += f"; {len(attempts)} starts"
    yield "Training time", units.duration(seconds), detail
    yield "Tokens", units.scaled(verdict.tokens(run)), f"in {int(run.step[-1]):,} steps"
    use = last_of(run, "model_flops_utilisation")
    flops = last_of(run, "model_flops_per_second")
    detail = f"{units.scaled(flops, 'FLOP/s')} a rank at the end" if flops else ""
    yield (
        "Tokens a second",
        units.scaled(verdict.speed(run)),
        detail + (f", {units.share(use)} of the peak" if use else ""),
    )
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
    if state.kind == verdict.RUNNING and math.isfinite(left := verdict.seconds_left(run)):
        found.insert(0, ("Time left", units.duration(left), "at the speed of the last steps"))
    return found
