"""The page of one run."""

import os

from shardora.report import drift, headline, page, panels, sections, verdict
from shardora.report import html_parts as html


def render(run, state, refresh_seconds=0):
    found = panels.of_run(run, drift.of_run(run))
    body = (
        html.badge(state)
        + html.tiles(headline.tiles(run, state))
        + html.bullets(verdict.notices(run))
        + html.frames(found)
        + sections.of_run(run)
    )
    model = run.config.get("model.path", "")
    subtitle = " · ".join(
        part for part in (run.config.get("adapter.method", ""), model, os.path.abspath(run.folder)) if part
    )
    return page.render(f"Run {run.name}", subtitle, body, found, refresh_seconds)
