"""The page of several runs: how they ended, what differs in their configuration, and the same plots over each other."""

import os

import numpy as np

from shardora.report import html_parts as html
from shardora.report import page, units, verdict
from shardora.report.comparison_panels import Member, panels_of


def unique_names(runs):
    """A run is called after its folder; folders of one name, by as much of their path as tells them apart."""
    paths = [os.path.abspath(run.folder).strip("/").split("/") for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


def differing(members):
    """The keys that not all runs have alike, with each run's value."""
    keys = dict.fromkeys(key for one in members for key in one.run.config)
    rows = [[key, *(one.run.config.get(key, units.NONE) for one in members)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _last_loss(found):
    return units.figure(found.loss[-1], 5)


def _best_loss(found):
    best = found.best()
    return units.NONE if best is None else f"{units.figure(found.loss[best], 5)} at step {found.step[best]:,}"


def _peak_memory(run):
    values = run.column("peak_memory_bytes")
    return units.NONE if values is None else units.memory(float(np.nanmax(values)))


def _trained(run):
    return units.scaled(run.logs.parameters[1]) if run.logs.parameters else units.NONE


_FIGURES = (
    ("steps", lambda run: f"{int(run.step[-1]):,}"),
    ("tokens", lambda run: units.scaled(verdict.tokens(run))),
    ("tokens a second", lambda run: units.scaled(verdict.speed(run))),
    ("training time", lambda run: units.duration(verdict.training_seconds(run).sum())),
    ("summed over ranks", lambda run: units.duration(verdict.rank_seconds(run) or np.nan)),
    ("peak memory of rank 0", _peak_memory),
    ("trained parameters", _trained),
    ("starts", lambda run: str(len(run.logs.starts) or units.NONE)),
)


def _evaluations(members):
    for name in dict.fromkeys(name for one in members for name in one.run.evaluations):
        found = [one.run.evaluations.get(name) for one in members]
        for label, figure in ((f"loss on {name}", _last_loss), (f"best loss on {name}", _best_loss)):
            yield [label, *(units.NONE if one is None else figure(one) for one in found)]


def figures(members):
    """A row a figure, a column a run."""
    runs = [one.run for one in members]
    return [
        ["state", *(verdict.state_of(run).text.split(":")[0] for run in runs)],
        ["training loss, last 5 %", *(units.figure(verdict.loss_ends(run)[1], 5) for run in runs)],
        *_evaluations(members),
        *([label, *map(figure, runs)] for label, figure in _FIGURES),
    ]


def render(runs, refresh_seconds=0):
    members = [Member(run, name, k) for k, (run, name) in enumerate(zip(runs, unique_names(runs)))]
    names = [one.name for one in members]
    other = differing(members)
    differences = html.table(["key", *names], other) if other else "<p>Their configurations are the same.</p>"
    found = panels_of(members)
    body = (
        html.section("Final figures", html.table(["", *names], figures(members)), "figures_table")
        + html.section("What differs", differences, "differing")
        + html.bullets([f"{one.name}: {text}" for one in members for text in verdict.notices(one.run)])
        + html.frames(found)
    )
    title = " against ".join(names) if len(names) <= 3 else f"{len(names)} runs"
    return page.render(title, " · ".join(run.folder for run in runs), body, found, refresh_seconds)
