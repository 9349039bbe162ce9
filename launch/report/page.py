"""One self-contained HTML file: style, plotly and the figures are inside, nothing is fetched."""

import errno
import json
import os
import string
import tempfile
import time
from html import escape

from plotly.offline import get_plotlyjs

from refusal import INPUT_OUTPUT, OUTPUT, Refusal

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


def _cannot_write(path, problem):
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    advice = "make room" if full else "choose another with --output"
    return Refusal(f"{path}: cannot be written: {problem.strerror}; {advice}", INPUT_OUTPUT if full else OUTPUT)


def _usual_mode():
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write(path, text):
    """By a temporary file and rename: whoever has the page open never reads half of it."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, _usual_mode())
        os.replace(temporary, path)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
