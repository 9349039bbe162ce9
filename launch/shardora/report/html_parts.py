"""Pieces of HTML. All that comes from a run is escaped here."""

from html import escape


def table(head, rows, search=False):
    """`rows`: lists of text; a number stands to the right."""
    cells = lambda row: "".join(f"<td>{escape(str(cell))}</td>" for cell in row)  # noqa: E731
    body = "".join(f"<tr>{cells(row)}</tr>" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    box = (
        '<input type="search" class="search" placeholder="Search keys and values" aria-label="Search">'
        if search
        else ""
    )
    return f'{box}<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def tile(label, value, detail):
    return (
        f'<div class="tile"><div class="label">{escape(label)}</div><div class="value">{escape(value)}</div>'
        f'<div class="detail">{escape(detail)}</div></div>'
    )


def tiles(found):
    return f'<div class="tiles">{"".join(tile(*one) for one in found)}</div>'


def frame(panel):
    wide = " wide" if panel["wide"] else ""
    note = f'<span class="note">{escape(panel["note"])}</span>' if panel["note"] else ""
    return (
        f'<figure class="card{wide}"><figcaption><h2>{escape(panel["title"])}</h2>{note}</figcaption>'
        f'<div class="plot" id="{escape(panel["id"])}"></div></figure>'
    )


def frames(panels):
    return f'<div class="plots">{"".join(frame(panel) for panel in panels)}</div>'


def section(title, content, name=""):
    return f'<section class="card" id="{escape(name)}"><h2>{escape(title)}</h2>{content}</section>' if content else ""


def fold(title, content, opened=False):
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{content}</details>"


def verbatim(text):
    return f"<pre>{escape(text)}</pre>"


def bullets(lines):
    return f'<ul class="notices">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def badge(state):
    return f'<p class="state {escape(state.kind)}">{escape(state.text)}</p>'
