"""What stands below one run's plots: evaluations, attempts, configuration, environment."""

import json

from shardora.report import html_parts as html
from shardora.report import units, verdict


def evaluations(run):
    """A row a step, two columns a set."""
    if not run.evaluations:
        return ""
    head, rows = ["step"], {}
    for k, (name, one) in enumerate(run.evaluations.items()):
        head += [f"loss on {name}", "perplexity"]
        for step, *values in zip(one.step, one.loss, one.perplexity):
            row = rows.setdefault(step, [units.NONE] * 2 * len(run.evaluations))
            row[2 * k : 2 * k + 2] = (units.figure(value, 6) for value in values)
    return html.table(head, [[f"{step:,}", *row] for step, row in sorted(rows.items())])


def attempts(run):
    rows = [
        [
            k + 1,
            units.moment(one.begin),
            f"{one.first:,}",
            f"{one.last:,}",
            f"{one.data} x {one.tensor}",
            units.duration(one.seconds),
        ]
        for k, one in enumerate(verdict.attempts_of(run))
    ]
    if not rows:
        return ""
    return html.table(["start", "at", "from step", "to step", "data x tensor", "time of its steps"], rows)


def configuration(run):
    rows = [[key, value] for key, value in run.config.items()]
    return html.table(["key", "value"], rows, search=True) if rows else ""


def environment(run):
    parts = []
    for step, manifest in run.checkpoints.items():
        size = sum(file.get("bytes", 0) for file in manifest.get("files", {}).values())
        told = [str(manifest[key]) for key in ("world", "instruction_set") if key in manifest]
        parts.append([f"checkpoint of step {step:,}", "; ".join([*told, units.memory(size)])])
    if run.holder:
        parts.append(["at work", json.dumps(run.holder)])
    found = html.table(["what", "said"], parts) if parts else ""
    for name, value in (("exit.json", run.exit), ("result.json", run.result), ("attempts.json", run.attempts)):
        if value:
            found += html.fold(name, html.verbatim(json.dumps(value, indent=2)))
    for name, text in run.logs.tails.items():
        found += html.fold(f"logs/{name}, last lines", html.verbatim(text))
    return found


def of_run(run):
    return (
        html.section("Evaluations", evaluations(run), "evaluations")
        + html.section("Attempts", attempts(run), "attempts")
        + html.section("Configuration", configuration(run), "configuration")
        + html.section("Environment", environment(run), "environment")
    )
