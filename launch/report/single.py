"""The page of one run."""

import os

import drift
import headline
import html_parts as html
import page
import panels
import sections
import verdict


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
