#!/usr/bin/env python3
"""The scatter plot of the DoRA paper (arXiv 2402.09353, figure 2) from tables of `shardora analyze --analyze.csv=FILE`.

    scatter.py --output plot.html full=full.csv LoRA=lora.csv DoRA=dora.csv [--projections q_proj v_proj]

One plot a table, side by side on the same axes: each point is one layer of one checkpoint, by how far its direction (x)
and its magnitude (y) have moved from the base. Colours are layers, marks are checkpoints, the line is the least-squares
fit; correlation and slope stand in the title. The page is self-contained. Slopes and correlations also go to standard
output, as one JSON object.
"""

import argparse
import csv
import json
import math
import os
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../common"))

from refusal import USAGE, Arguments, Refusal, run  # noqa: E402
from whole_file import write_text  # noqa: E402

COLUMNS = ["step", "layer", "projection", "module", "delta_m", "delta_d", "base_magnitude"]
MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x"]


def read_table(path):
    """The rows of one table, with numbers as numbers."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                raise Refusal(f"{path}: the first line is {reader.fieldnames}, expected {','.join(COLUMNS)}: "
                              "a table of shardora analyze --analyze.csv")
            return [read_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except OSError as problem:
        raise Refusal(f"{path}: {problem.strerror}, expected a table of shardora analyze") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise Refusal(f"{path}: {problem}, expected a table of shardora analyze") from None


def read_row(row, where):
    try:
        numbers = {name: float(row[name]) for name in ("delta_m", "delta_d")}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("not finite")
        return {"step": int(row["step"]), "layer": int(row["layer"]), "projection": row["projection"],
                "module": row["module"], **numbers}
    except (TypeError, ValueError) as problem:
        raise Refusal(f"{where}: {problem}, expected numbers in every column") from None


def trend(rows):
    """Correlation, slope and intercept of dM over dD; None where there is no line."""
    none = {"correlation": None, "slope": None, "intercept": None}
    if len(rows) < 2:
        return none
    x, y = [row["delta_d"] for row in rows], [row["delta_m"] for row in rows]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    xx = sum((value - mean_x) ** 2 for value in x)
    yy = sum((value - mean_y) ** 2 for value in y)
    xy = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    if xx == 0:
        return none
    slope = xy / xx
    return {"correlation": xy / math.sqrt(xx * yy) if yy else None, "slope": slope, "intercept": mean_y - slope * mean_x}


def shown(value):
    return "–" if value is None else f"{value:.3g}"


def add_points(figure, rows, column):
    import plotly.graph_objects as objects

    layers = [row["layer"] for row in rows]
    for number, step in enumerate(sorted({row["step"] for row in rows})):
        those = [row for row in rows if row["step"] == step]
        figure.add_trace(
            objects.Scatter(
                x=[row["delta_d"] for row in those], y=[row["delta_m"] for row in those], mode="markers",
                name=f"step {step}", legendgroup=f"step {number}", showlegend=column == 1,
                marker={"symbol": MARKS[number % len(MARKS)], "size": 9, "color": [row["layer"] for row in those],
                        "colorscale": "Viridis", "cmin": min(layers), "cmax": max(layers), "line": {"width": 0.5},
                        "showscale": column == 1 and number == 0, "colorbar": {"title": "layer", "x": 1.0, "y": 0.4,
                                                                              "len": 0.8}},
                text=[row["module"] for row in those],
                hovertemplate="%{text}<br>ΔD %{x:.4g}<br>ΔM %{y:.4g}<extra></extra>"),
            row=1, col=column)


def add_line(figure, rows, line, column):
    import plotly.graph_objects as objects

    if line["slope"] is None:
        return
    ends = [min(row["delta_d"] for row in rows), max(row["delta_d"] for row in rows)]
    figure.add_trace(
        objects.Scatter(x=ends, y=[line["slope"] * x + line["intercept"] for x in ends], mode="lines", showlegend=False,
                        line={"color": "black", "width": 1, "dash": "dash"}, hoverinfo="skip"),
        row=1, col=column)


def draw(tables, projections):
    """A plotly figure and what its titles say."""
    from plotly.subplots import make_subplots

    lines = {name: trend(rows) for name, rows in tables.items()}
    titles = [f"{name}: correlation {shown(line['correlation'])}, slope {shown(line['slope'])}"
              for name, line in lines.items()]
    figure = make_subplots(rows=1, cols=len(tables), subplot_titles=titles)
    for column, (name, rows) in enumerate(tables.items(), 1):
        add_points(figure, rows, column)
        add_line(figure, rows, lines[name], column)
        figure.update_xaxes(title_text="ΔD (direction)", row=1, col=column)
        figure.update_yaxes(title_text="ΔM (magnitude)" if column == 1 else None, row=1, col=column)
    which = ", ".join(projections) if projections else "all projections"
    figure.update_layout(title=f"Change of magnitude and direction against the base: {which}", template="plotly_white",
                         width=430 * len(tables) + 120, height=480)
    return figure, lines


def parse(arguments):
    parser = Arguments(prog="scatter.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="NAME=CSV")
    parser.add_argument("--output", required=True, metavar="HTML")
    parser.add_argument("--projections", nargs="+", default=[], metavar="NAME", help="only these (all)")
    options = parser.parse_args(arguments)
    for table in options.tables:
        if not all(table.partition("=")):
            raise Refusal(f"'{table}': expected NAME=CSV", USAGE)
    return options


def chosen(path, projections):
    rows = [row for row in read_table(path) if not projections or row["projection"] in projections]
    if not rows:
        raise Refusal(f"{path}: no row" + (f" of {', '.join(projections)}" if projections else "") +
                      ", expected the layers of an analysis")
    return rows


def main(arguments):
    options = parse(arguments)
    tables = {}
    for table in options.tables:
        name, _, path = table.partition("=")
        tables[name] = chosen(path, options.projections)
    figure, lines = draw(tables, options.projections)
    write_text(options.output, figure.to_html(include_plotlyjs=True, full_html=True))
    print(json.dumps({"output": options.output, **{name: {"points": len(tables[name]), **line}
                                                   for name, line in lines.items()}}))


if __name__ == "__main__":
    sys.exit(run("scatter.py", main, sys.argv[1:]))
