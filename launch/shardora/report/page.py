"""One self-contained HTML file: style, plotly and the figures are inside, nothing is fetched."""

import json
import os
import string
import time
from html import escape

from plotly.offline import get_plotlyjs

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page")


def _part(name):
    with open(os.path.join(_HERE, name), encoding="utf-8") as file:
        return file.read()


def in_script(value):
    """JSON that may stand in a script element: nothing in it can end the element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def render(title, subtitle, body, panels, refresh_seconds=0):
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    return string.Template(_part("page.html")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        refresh=refresh,
        style=_part("page.css"),
        body=body,
        made=time.strftime("%Y-%m-%d %H:%M:%S"),
        figures=in_script(panels),
        plotly=get_plotlyjs(),
        script=_part("page.js"),
    )
