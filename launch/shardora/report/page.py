"""The page of one run, or of several over each other: one self-contained HTML file. Style, plotly and the figures are
inside, nothing is fetched; all that comes from a run is escaped by the template."""

import json
import os
import time

import jinja2
import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from shardora.report import comparison_plots, drift, plots, summary, units

_TEMPLATES = jinja2.FileSystemLoader(os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates"))


def _render(title, subtitle, refresh_seconds, **content):
    environment = jinja2.Environment(loader=_TEMPLATES, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style, script = (Markup(_TEMPLATES.get_source(environment, name)[0]) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        refresh_seconds=refresh_seconds,
        made=time.strftime("%Y-%m-%d %H:%M:%S"),
        style=style,
        script=script,
        plotly=Markup(get_plotlyjs()),
        **content,
    )


def of_run(run, state, refresh_seconds=0):
    parts = (run.config.get("adapter.method", ""), run.config.get("model.path", ""), os.path.abspath(run.folder))
    return _render(
        f"Run {run.name}",
        " · ".join(filter(None, parts)),
        refresh_seconds,
        state=state,
        tiles=summary.tiles(run, state),
        notices=summary.notices(run),
        panels=plots.of_run(run, drift.of_run(run)),
        below=[_evaluations(run), _attempts(run), _configuration(run), _environment(run)],
    )


def _section(title, name, head=(), rows=(), **more):
    """A table, and texts to unfold. One without any of them is not shown."""
    return {"title": title, "id": name, "head": head, "rows": rows, **more}


def _evaluations(run):
    """A row a step, two columns a set."""
    head, rows = ["step"], {}
    for k, (name, one) in enumerate(run.evaluations.items()):
        head += [f"loss on {name}", "perplexity"]
        for step, *values in zip(one.step, one.loss, one.perplexity):
            row = rows.setdefault(step, [units.NONE] * 2 * len(run.evaluations))
            row[2 * k : 2 * k + 2] = (units.figure(value, 6) for value in values)
    return _section("Evaluations", "evaluations", head, [[f"{step:,}", *row] for step, row in sorted(rows.items())])


def _attempts(run):
    rows = [
        [
            k + 1,
            units.moment(one.begin),
            f"{one.first:,}",
            f"{one.last:,}",
            f"{one.data} x {one.tensor}",
            units.duration(one.seconds),
        ]
        for k, one in enumerate(summary.attempts_of(run))
    ]
    head = ["start", "at", "from step", "to step", "data x tensor", "time of its steps"]
    return _section("Attempts", "attempts", head, rows)


def _configuration(run):
    return _section("Configuration", "configuration", ["key", "value"], list(run.config.items()), search=True)


def _environment(run):
    rows = []
    for step, manifest in run.checkpoints.items():
        size = sum(file.get("bytes", 0) for file in manifest.get("files", {}).values())
        about = [str(manifest[key]) for key in ("world", "instruction_set") if key in manifest]
        rows.append([f"checkpoint of step {step:,}", "; ".join([*about, units.memory(size)])])
    if run.holder:
        rows.append(["running now", json.dumps(run.holder)])
    files = (("exit.json", run.exit), ("result.json", run.result), ("attempts.json", run.attempts))
    texts = [(name, json.dumps(value, indent=2)) for name, value in files if value]
    texts += [(f"logs/{name}, last lines", text) for name, text in run.logs.tails.items()]
    return _section("Environment", "environment", ["what", "value"], rows, texts=texts)


def unique_names(runs):
    """A run is called after its folder; folders of one name, by as much of their path as distinguishes them."""
    paths = [os.path.abspath(run.folder).strip("/").split("/") for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


def _last_loss(found):
    return units.figure(found.loss[-1], 5)


def _best_loss(found):
    best = found.best()
    return units.NONE if best is None else f"{units.figure(found.loss[best], 5)} at step {found.step[best]:,}"


def _peak_memory(run):
    values = run.column("peak_memory_bytes")
    return units.NONE if values is None else units.memory(float(np.nanmax(values)))


_FIGURES = (
    ("state", lambda run: summary.state_of(run).text.split(":")[0]),
    ("training loss, last 5 %", lambda run: units.figure(summary.loss_ends(run)[1], 5)),
    ("steps", lambda run: f"{int(run.step[-1]):,}"),
    ("tokens", lambda run: units.scaled(summary.tokens(run))),
    ("tokens a second", lambda run: units.scaled(summary.speed(run))),
    ("training time", lambda run: units.duration(summary.training_seconds(run).sum())),
    ("summed over ranks", lambda run: units.duration(summary.rank_seconds(run) or np.nan)),
    ("peak memory of rank 0", _peak_memory),
    ("trained parameters", lambda run: units.scaled(run.logs.parameters[1] if run.logs.parameters else None)),
    ("starts", lambda run: str(len(run.logs.starts) or units.NONE)),
)


def _figures(runs):
    """A row a figure, a column a run."""
    rows = [[label, *map(figure, runs)] for label, figure in _FIGURES]
    evaluations = []
    for name in dict.fromkeys(name for run in runs for name in run.evaluations):
        found = [run.evaluations.get(name) for run in runs]
        for label, figure in ((f"loss on {name}", _last_loss), (f"best loss on {name}", _best_loss)):
            evaluations.append([label, *(units.NONE if one is None else figure(one) for one in found)])
    return rows[:2] + evaluations + rows[2:]


def _differing(runs):
    """The keys that not all runs have alike, with each run's value."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    rows = [[key, *(run.config.get(key, units.NONE) for run in runs)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def of_several(runs, refresh_seconds=0):
    names, differing = unique_names(runs), _differing(runs)
    return _render(
        " against ".join(names) if len(names) <= 3 else f"{len(names)} runs",
        " · ".join(run.folder for run in runs),
        refresh_seconds,
        above=[
            _section("Final figures", "figures_table", ["", *names], _figures(runs)),
            _section(
                "What differs",
                "differing",
                ["key", *names] if differing else [],
                differing or [["Their configurations are the same."]],
            ),
        ],
        notices=[f"{name}: {text}" for run, name in zip(runs, names) for text in summary.notices(run)],
        panels=comparison_plots.of_several(runs, names),
    )
