"""The plots of several runs over each other."""

import numpy as np

from shardora.report import curves, drift, plots
from shardora.report.curves import Axes, colour, line
from shardora.report.run_folder import PHASES

_PALE_AT_MOST = 3  # with more runs the single steps would hide the curves


class Member:
    """A run with its name, colour and axes."""

    def __init__(self, run, name, index):
        self.run, self.name, self.tint, self.axes = run, name, colour(index), Axes(run)
        self.drifts = drift.of_run(run)

    def curves(self, column, pale):
        """Raw and smoothed, or where there are many runs the smoothed one alone."""
        values = self.run.column(column)
        if values is None:
            return []
        found = curves.raw_and_smooth(self.name, self.axes, self.run.step, values, self.tint, self.name)
        return found if pale else found[-1:]


def _loss(members, pale):
    traces = [trace for one in members for trace in one.curves("loss", pale)]
    dashes = {}
    for one in members:
        for name, values in one.run.evaluations.items():
            dash = dashes.setdefault(name, ("dash", "dot", "dashdot", "longdash")[len(dashes) % 4])
            trace = curves.evaluation(f"{one.name}: {name}", one.axes, values, one.tint, legendgroup=one.name)
            trace["line"]["dash"] = dash
            traces.append(trace)
    return plots.panel("loss", "Loss", traces, {"title": {"text": "nats a token"}}, "evaluations broken", wide=True)


def _over_each_other(members, name, title, column, axis_of, note):
    traces = [trace for one in members for trace in one.curves(column, pale=False)]
    return plots.panel(name, title, traces, axis_of(traces), note) if traces else None


def _plain(members, name, title, column, axis, note=""):
    traces = [
        line(one.name, one.axes, one.run.step, values, line={"color": one.tint, "width": 2})
        for one in members
        if (values := one.run.column(column)) is not None
    ]
    return plots.panel(name, title, traces, axis, note) if traces else None


def _phases(members):
    """Mean seconds of a step by phase, a bar a run."""
    traces = []
    for k, phase in enumerate(PHASES):
        means = [
            np.nanmean(values) if (values := one.run.column(f"phases.{phase}")) is not None else np.nan
            for one in members
        ]
        if np.isfinite(means).any():
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": phase,
                    "y": [one.name for one in members],
                    "x": curves.numbers(means),
                    "marker": {"color": colour(k)},
                }
            )
    if not traces:
        return None
    return plots.panel(
        "phases",
        "Phases of a step",
        traces,
        {"autorange": "reversed", "type": "category"},
        "of rank 0, mean over the run",
        barmode="stack",
        legend={"traceorder": "normal"},
        hovermode="closest",
        xaxis={"title": {"text": "seconds"}},
    )


def _drift_by_layer(members):
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{one.name}, step {one.drifts[-1].step:,}",
            "x": [str(layer) for layer in one.drifts[-1].layers],
            "y": curves.numbers(one.drifts[-1].by_layer()),
            "line": {"color": one.tint},
        }
        for one in members
        if one.drifts
    ]
    if not traces:
        return None
    return plots.panel(
        "drift_by_layer",
        "Drift by layer",
        traces,
        {"tickformat": ".3~p", "rangemode": "tozero"},
        "mean of |m / m0 - 1| in the newest checkpoint",
        xaxis={"title": {"text": "layer"}, "type": "category"},
    )


def of_several(runs, names):
    members = [Member(run, name, k) for k, (run, name) in enumerate(zip(runs, names))]
    pale = len(members) <= _PALE_AT_MOST
    found = [
        _loss(members, pale),
        _plain(members, "learning_rate", "Learning rate", "learning_rate", {"rangemode": "tozero", "tickformat": "~g"}),
        _over_each_other(
            members,
            "gradient_norm",
            "Gradient norm",
            "gradient_norm",
            curves.logarithmic,
            "before clipping, smoothed, logarithmic",
        ),
        _over_each_other(
            members,
            "throughput",
            "Throughput",
            "tokens_per_second",
            lambda _: {"rangemode": "tozero", "tickformat": "~s"},
            "tokens a second over all ranks, smoothed",
        ),
        _plain(members, "memory", "Peak memory", "peak_memory_bytes", plots.BYTES, "of rank 0"),
        _phases(members),
        _plain(
            members,
            "drift",
            "Magnitude drift",
            "magnitude_drift.mean",
            {"tickformat": ".3~p", "rangemode": "tozero"},
            "mean of |m / m0 - 1|",
        ),
        _drift_by_layer(members),
    ]
    return plots.fill([one for one in found if one is not None])
