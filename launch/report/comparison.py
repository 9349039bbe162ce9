"""The page of several runs: the same plots over each other, what differs in their configuration, and how they ended."""

import numpy as np

import drift
import html_parts as html
import page
import panels
import series
import units
import verdict
from run_data import PHASES
from series import Axes, colour, line

_PALE_AT_MOST = 3  # with more runs the single steps would hide the curves


def unique_names(runs):
    """A run is called after its folder; folders of one name, by as much of their path as tells them apart."""
    paths = [run.folder.rstrip("/").split("/") for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


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
        found = series.raw_and_smooth(self.name, self.axes, self.run.step, values, self.tint, self.name)
        return found if pale else found[-1:]


def _loss(members, pale):
    traces = [trace for one in members for trace in one.curves("loss", pale)]
    dashes = {}
    for one in members:
        for name, values in one.run.evaluations.items():
            dash = dashes.setdefault(name, ("dash", "dot", "dashdot", "longdash")[len(dashes) % 4])
            trace = series.evaluation(f"{one.name}: {name}", one.axes, values, one.tint, legendgroup=one.name)
            trace["line"]["dash"] = dash
            traces.append(trace)
    return panels.panel("loss", "Loss", traces, {"title": {"text": "nats a token"}}, "evaluations broken", wide=True)


def _over_each_other(members, name, title, column, axis_of, note):
    traces = [trace for one in members for trace in one.curves(column, pale=False)]
    return panels.panel(name, title, traces, axis_of(traces), note) if traces else None


def _plain(members, name, title, column, axis, note=""):
    traces = [line(one.name, one.axes, one.run.step, values, line={"color": one.tint, "width": 2})
              for one in members if (values := one.run.column(column)) is not None]
    return panels.panel(name, title, traces, axis, note) if traces else None


def _phases(members):
    """Mean seconds of a step by phase, a bar a run."""
    traces = []
    for k, phase in enumerate(PHASES):
        means = [np.nanmean(values) if (values := one.run.column(f"phases.{phase}")) is not None else np.nan
                 for one in members]
        if np.isfinite(means).any():
            traces.append({"type": "bar", "orientation": "h", "name": phase, "y": [one.name for one in members],
                           "x": series.numbers(means), "marker": {"color": colour(k)}})
    if not traces:
        return None
    return panels.panel("phases", "Phases of a step", traces, {"autorange": "reversed", "type": "category"},
                        "of rank 0, mean over the run", barmode="stack", legend={"traceorder": "normal"}, hovermode="closest",
                        xaxis={"title": {"text": "seconds"}})


def _drift_by_layer(members):
    traces = [{"type": "scatter", "mode": "lines+markers", "name": f"{one.name}, step {one.drifts[-1].step:,}",
               "x": [str(layer) for layer in one.drifts[-1].layers], "y": series.numbers(one.drifts[-1].by_layer()), "line": {"color": one.tint}}
              for one in members if one.drifts]
    if not traces:
        return None
    return panels.panel("drift_by_layer", "Drift by layer", traces, {"tickformat": ".3~p", "rangemode": "tozero"},
                        "mean of |m / m0 - 1| in the newest checkpoint",
                        xaxis={"title": {"text": "layer"}, "type": "category"})


def panels_of(members):
    pale = len(members) <= _PALE_AT_MOST
    found = [
        _loss(members, pale),
        _plain(members, "learning_rate", "Learning rate", "learning_rate", {"rangemode": "tozero", "tickformat": "~g"}),
        _over_each_other(members, "gradient_norm", "Gradient norm", "gradient_norm", series.logarithmic,
                         "before clipping, smoothed, logarithmic"),
        _over_each_other(members, "throughput", "Throughput", "tokens_per_second",
                         lambda _: {"rangemode": "tozero", "tickformat": "~s"}, "tokens a second over all ranks, smoothed"),
        _plain(members, "memory", "Peak memory", "peak_memory_bytes", panels.BYTES, "of rank 0"),
        _phases(members),
        _plain(members, "drift", "Magnitude drift", "magnitude_drift.mean",
               {"tickformat": ".3~p", "rangemode": "tozero"}, "mean of |m / m0 - 1|"),
        _drift_by_layer(members),
    ]
    return panels.fill([one for one in found if one is not None])


def differing(members):
    """The keys that not all runs have alike, with each run's value."""
    keys = dict.fromkeys(key for one in members for key in one.run.config)
    rows = [[key, *(one.run.config.get(key, units.NONE) for one in members)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _last(values):
    return units.figure(values[-1], 5)


def figures(members):
    """A row a figure, a column a run."""
    def row(label, figure):
        return [label, *(figure(one.run) for one in members)]

    rows = [row("state", lambda run: verdict.state_of(run).text.split(":")[0]),
            row("training loss, last 5 %", lambda run: units.figure(verdict.loss_ends(run)[1], 5))]
    for name in dict.fromkeys(name for one in members for name in one.run.evaluations):
        def of(run, what, name=name):
            return what(run.evaluations[name]) if name in run.evaluations else units.NONE

        rows.append(row(f"loss on {name}", lambda run, of=of: of(run, lambda found: _last(found.loss))))
        rows.append(row(f"best loss on {name}", lambda run, of=of: of(run, _best)))
    peak = lambda run: run.column("peak_memory_bytes")  # noqa: E731
    return rows + [
        row("steps", lambda run: f"{int(run.step[-1]):,}"),
        row("tokens", lambda run: units.scaled(verdict.tokens(run))),
        row("tokens a second", lambda run: units.scaled(verdict.speed(run))),
        row("training time", lambda run: units.duration(verdict.training_seconds(run).sum())),
        row("summed over ranks", lambda run: units.duration(verdict.rank_seconds(run) or np.nan)),
        row("peak memory of rank 0", lambda run: units.memory(None if peak(run) is None else np.nanmax(peak(run)))),
        row("trained parameters", lambda run: units.scaled(run.logs.parameters[1]) if run.logs.parameters else units.NONE),
        row("starts", lambda run: str(len(run.logs.starts) or units.NONE)),
    ]


def _best(found):
    best = found.best()
    return units.NONE if best is None else f"{units.figure(found.loss[best], 5)} at step {found.step[best]:,}"


def render(runs, refresh_seconds=0):
    members = [Member(run, name, k) for k, (run, name) in enumerate(zip(runs, unique_names(runs)))]
    names = [one.name for one in members]
    found = panels_of(members)
    told = [f"{one.name}: {text}" for one in members for text in verdict.notices(one.run)]
    other = differing(members)
    body = (html.section("Final figures", html.table(["", *names], figures(members)), "figures_table")
            + html.section("What differs", html.table(["key", *names], other) if other else
                           "<p>Their configurations are the same.</p>", "differing")
            + html.bullets(told) + html.frames(found))
    return page.render(" against ".join(names) if len(names) <= 3 else f"{len(names)} runs",
                       " · ".join(run.folder for run in runs), body, found, refresh_seconds)
