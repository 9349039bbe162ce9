"""The plots of one run. A panel is what the page shows in one frame: title, a note, plotly's traces and layout."""

import numpy as np

from shardora.report import curves, summary
from shardora.report.curves import MOST_POINTS, Axes, colour, kept, line, raw_and_smooth
from shardora.report.run_folder import PHASES

_FEW = 8  # columns of a heatmap that have room for a label each
BYTES = {"tickformat": ".3~s", "ticksuffix": "B", "rangemode": "tozero"}


def panel(name, title, traces, y=None, note="", wide=False, **layout):
    return {
        "id": name,
        "title": title,
        "note": note,
        "wide": wide,
        "traces": traces,
        "layout": {"yaxis": y or {}, **layout},
    }


def loss(run, axes):
    values = run.columns.get("loss")
    traces = [] if values is None else raw_and_smooth("training", axes, run.step, values, colour(0))
    traces += [
        curves.evaluation(name, axes, one, colour(1 + k)) for k, (name, one) in enumerate(run.evaluations.items())
    ]
    return panel("loss", "Loss", traces, {"title": {"text": "nats a token"}}, wide=True)


def learning_rate(run, axes):
    values = run.column("learning_rate")
    if values is None:
        return None
    return panel(
        "learning_rate",
        "Learning rate",
        [line("learning rate", axes, run.step, values, line={"color": colour(3), "width": 2})],
        {"rangemode": "tozero", "tickformat": "~g"},
    )


def gradient_norm(run, axes):
    values = run.column("gradient_norm")
    if values is None:
        return None
    clip = summary.clip_norm(run)
    traces = raw_and_smooth("norm", axes, run.step, values, colour(4))
    if clip > 0:
        ends = np.array([run.step[0], run.step[-1]])
        traces.append(
            line(
                f"clipped to {clip:g}",
                axes,
                ends,
                np.array([clip, clip]),
                line={"color": colour(7), "width": 1.5, "dash": "dash"},
            )
        )
    return panel("gradient_norm", "Gradient norm", traces, curves.logarithmic(traces), "before clipping, logarithmic")


def throughput(run, axes):
    values = run.column("tokens_per_second")
    if values is None:
        return None
    return panel(
        "throughput",
        "Throughput",
        raw_and_smooth("tokens/s", axes, run.step, values, colour(2)),
        {"rangemode": "tozero", "tickformat": "~s"},
        "tokens a second over all ranks",
    )


def memory(run, axes):
    values = run.column("peak_memory_bytes")
    if values is None:
        return None
    return panel(
        "memory",
        "Peak memory",
        [line("peak", axes, run.step, values, fill="tozeroy", line={"color": colour(5), "width": 2})],
        BYTES,
        "of rank 0's process since its start",
    )


def drift(run, axes):
    mean, largest = run.column("magnitude_drift.mean"), run.column("magnitude_drift.max")
    if mean is None or largest is None:
        return None
    return panel(
        "drift",
        "Magnitude drift",
        [
            line("mean", axes, run.step, mean, line={"color": colour(0), "width": 2}),
            line("largest", axes, run.step, largest, line={"color": colour(1), "width": 2}),
        ],
        {"tickformat": ".3~p", "rangemode": "tozero"},
        "|m / m0 - 1| over all adapted outputs",
    )


def phases(run, axes):
    """All phases at the same steps, those where the whole step was fastest and slowest: a stack needs one x."""
    found = [(name, run.columns[f"phases.{name}"]) for name in PHASES if f"phases.{name}" in run.columns]
    if not found:
        return None
    chosen = kept(sum(values for _, values in found))
    traces = [
        line(name, axes, run.step, values, chosen, stackgroup="phases", line={"width": 0, "color": colour(k)})
        for k, (name, values) in enumerate(found)
    ]
    return panel(
        "phases",
        "Phases of a step",
        traces,
        {"title": {"text": "seconds"}, "rangemode": "tozero", "tickformat": "~g"},
        "of rank 0, stacked",
        wide=True,
    )


def _heatmap(x, y, values):
    return {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": [curves.numbers(row) for row in values],
        "colorscale": "Viridis",
        "colorbar": {"tickformat": ".2~p", "thickness": 10, "outlinewidth": 0},
        "hovertemplate": "%{y}, %{x}: %{z:.3%}<extra></extra>",
    }


def drift_by_projection(drifts):
    if not drifts:
        return None
    last = drifts[-1]
    return panel(
        "drift_by_projection",
        "Drift by layer and projection",
        [_heatmap(last.projections, [f"layer {k}" for k in last.layers], last.values)],
        {"autorange": "reversed"},
        f"mean of |m / m0 - 1| in the checkpoint of step {last.step:,}",
        xaxis={"type": "category"},
        hovermode="closest",
    )


def drift_by_layer(run, drifts):
    """From metrics.jsonl where it is logged, else from the checkpoints."""
    rows = run.layer_drift or [(one.step, one.by_layer()) for one in drifts]
    if not rows:
        return None
    layers = len(rows[0][1])
    numbered = range(layers) if run.layer_drift else drifts[-1].layers
    most = max(2, MOST_POINTS // layers)
    rows = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    values = np.array([values for _, values in rows], dtype=float).T
    few = len(rows) <= _FEW
    source = "evaluations" if run.layer_drift else "checkpoints that are kept"
    return panel(
        "drift_by_layer",
        "Drift by layer over steps",
        [_heatmap([f"{step:,}" if few else step for step, _ in rows], [f"layer {k}" for k in numbered], values)],
        {"autorange": "reversed"},
        f"mean of |m / m0 - 1|, at the {source}",
        xaxis={"type": "category" if few else "linear", "tickformat": "" if few else ",", "title": {"text": "step"}},
        hovermode="closest",
    )


def of_run(run, drifts):
    axes = Axes(run)
    panels = [make(run, axes) for make in (loss, learning_rate, gradient_norm, throughput, memory, phases, drift)]
    panels += [drift_by_layer(run, drifts), drift_by_projection(drifts)]
    resumed = [attempt.first for attempt in summary.attempts_of(run) if attempt.first > 0]
    found = [one for one in panels if one is not None]
    for one in found:
        one["marks"] = axes.at(resumed) if "hovermode" not in one["layout"] else None
    return fill(found)


def fill(panels):
    """Two narrow ones share a row; the last of an odd number gets the row for itself."""
    left = 0
    for one in panels:
        left = 0 if one["wide"] else 1 - left
    if left:
        panels[-1]["wide"] = True
    return panels
