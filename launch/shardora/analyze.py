"""How far an adapter has moved the weights' magnitudes and directions, as the DoRA paper (arXiv 2402.09353) shows it.

    shardora-analyze scatter --output plot.html full=full.csv LoRA=lora.csv DoRA=dora.csv [--projections q_proj v_proj]
    shardora-analyze study --model MODEL --train train.safetensors --output FOLDER [--eval eval.safetensors] [--steps 400]

scatter   The paper's figure 2 from tables of `shardora analyze --analyze.csv=FILE`. One plot a table, side by side on the
          same axes: each point is one layer of one checkpoint, by how far its direction (x) and its magnitude (y) have
          moved from the base. Colours are layers, marks are checkpoints, the line is the least-squares fit; correlation
          and slope stand in the title. The page is self-contained. Slopes and correlations also go to standard output, as
          one JSON object.

study     The paper's study in small: full fine-tuning, LoRA and DoRA of one base on one task. Writes FOLDER/full,
          FOLDER/lora and FOLDER/dora (runs with four checkpoints each), a table of each, and, where plotly is installed,
          scatter.html with the three plots side by side. Prints correlation and slope of ΔM over ΔD, as the program gives
          them, for all projections and, as the paper, for the query and value projections. FOLDER must not exist, or be
          an earlier study's, which goes on where it was. What follows -- goes to all three runs:
          -- --train.global_batch=16
"""

import csv
import json
import math
import os
import sys

from shardora.atomic_file import write_text
from shardora.errors import OUTPUT, USAGE, Arguments, Error
from shardora.program import Program, split_flags

METHODS = ("full", "lora", "dora")
CHECKPOINTS = 4
MARK = "study.json"
COLUMNS = ["step", "layer", "projection", "module", "delta_m", "delta_d", "base_magnitude"]
MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x"]


def read_table(path):
    """The rows of one table, with numbers as numbers."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                raise Error(
                    f"{path}: the first line is {reader.fieldnames}, expected {','.join(COLUMNS)}: "
                    "a table of shardora analyze --analyze.csv"
                )
            return [read_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except OSError as problem:
        raise Error(f"{path}: {problem.strerror}, expected a table of shardora analyze") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise Error(f"{path}: {problem}, expected a table of shardora analyze") from None


def read_row(row, where):
    try:
        numbers = {name: float(row[name]) for name in ("delta_m", "delta_d")}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("not finite")
        return {
            "step": int(row["step"]),
            "layer": int(row["layer"]),
            "projection": row["projection"],
            "module": row["module"],
            **numbers,
        }
    except (TypeError, ValueError) as problem:
        raise Error(f"{where}: {problem}, expected numbers in every column") from None


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
    return {
        "correlation": xy / math.sqrt(xx * yy) if yy else None,
        "slope": slope,
        "intercept": mean_y - slope * mean_x,
    }


def shown(value):
    return "–" if value is None else f"{value:.3g}"


def add_points(figure, rows, column):
    import plotly.graph_objects as objects

    layers = [row["layer"] for row in rows]
    for number, step in enumerate(sorted({row["step"] for row in rows})):
        those = [row for row in rows if row["step"] == step]
        figure.add_trace(
            objects.Scatter(
                x=[row["delta_d"] for row in those],
                y=[row["delta_m"] for row in those],
                mode="markers",
                name=f"step {step}",
                legendgroup=f"step {number}",
                showlegend=column == 1,
                marker={
                    "symbol": MARKS[number % len(MARKS)],
                    "size": 9,
                    "color": [row["layer"] for row in those],
                    "colorscale": "Viridis",
                    "cmin": min(layers),
                    "cmax": max(layers),
                    "line": {"width": 0.5},
                    "showscale": column == 1 and number == 0,
                    "colorbar": {"title": "layer", "x": 1.0, "y": 0.4, "len": 0.8},
                },
                text=[row["module"] for row in those],
                hovertemplate="%{text}<br>ΔD %{x:.4g}<br>ΔM %{y:.4g}<extra></extra>",
            ),
            row=1,
            col=column,
        )


def add_line(figure, rows, line, column):
    import plotly.graph_objects as objects

    if line["slope"] is None:
        return
    ends = [min(row["delta_d"] for row in rows), max(row["delta_d"] for row in rows)]
    figure.add_trace(
        objects.Scatter(
            x=ends,
            y=[line["slope"] * x + line["intercept"] for x in ends],
            mode="lines",
            showlegend=False,
            line={"color": "black", "width": 1, "dash": "dash"},
            hoverinfo="skip",
        ),
        row=1,
        col=column,
    )


def draw(tables, projections):
    """(plotly figure, name -> line)"""
    from plotly.subplots import make_subplots

    lines = {name: trend(rows) for name, rows in tables.items()}
    titles = [
        f"{name}: correlation {shown(line['correlation'])}, slope {shown(line['slope'])}"
        for name, line in lines.items()
    ]
    figure = make_subplots(rows=1, cols=len(tables), subplot_titles=titles)
    for column, (name, rows) in enumerate(tables.items(), 1):
        add_points(figure, rows, column)
        add_line(figure, rows, lines[name], column)
        figure.update_xaxes(title_text="ΔD (direction)", row=1, col=column)
        figure.update_yaxes(title_text="ΔM (magnitude)" if column == 1 else None, row=1, col=column)
    which = ", ".join(projections) if projections else "all projections"
    figure.update_layout(
        title=f"Change of magnitude and direction against the base: {which}",
        template="plotly_white",
        width=430 * len(tables) + 120,
        height=480,
    )
    return figure, lines


def chosen(path, projections):
    rows = [row for row in read_table(path) if not projections or row["projection"] in projections]
    if not rows:
        raise Error(
            f"{path}: no row"
            + (f" of {', '.join(projections)}" if projections else "")
            + ", expected the layers of an analysis"
        )
    return rows


def prepare_folder(options):
    """An own folder: new, or an earlier study's of the same program and questions."""
    mark, asked = os.path.join(options.output, MARK), {key: vars(options)[key] for key in sorted(vars(options))}
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if json.load(file) != asked:
                raise Error(
                    f"{options.output}: holds a study with other options (see {MARK}); choose another folder", OUTPUT
                )
        return
    if os.path.exists(options.output) and os.listdir(options.output):
        raise Error(f"{options.output}: is not empty and no study's; choose another folder", OUTPUT)
    os.makedirs(options.output, exist_ok=True)
    write_text(mark, json.dumps(asked, indent=2) + "\n")


def train(program, options, method):
    rate = options.full_learning_rate if method == "full" else options.learning_rate
    words = [
        f"--model.path={options.model}",
        f"--adapter.method={method}",
        f"--data.train={options.train}",
        f"--output.dir={os.path.join(options.output, method)}",
        f"--train.steps={options.steps}",
        f"--train.learning_rate={rate}",
        f"--train.seed={options.seed}",
        f"--output.checkpoint_every={options.steps // CHECKPOINTS}",
        f"--output.keep={CHECKPOINTS + 1}",
    ]
    if method != "full":
        words += [f"--adapter.rank={options.rank}", f"--adapter.alpha={2 * options.rank}"]
    if options.eval:
        words.append(f"--data.eval={options.eval}")
    return program.run("train", *words, *options.flags)


def analyze(program, options, method):
    table = os.path.join(options.output, f"{method}.csv")
    result = program.run(
        "analyze",
        f"--model.path={options.model}",
        f"--analyze.csv={table}",
        f"--analyze.checkpoints={os.path.join(options.output, method)}",
    )
    queries_and_values = [row for row in read_table(table) if row["projection"] in ("q_proj", "v_proj")]
    return {
        "all": {key: result[key] for key in ("points", "mean_delta_m", "mean_delta_d", "correlation", "slope")},
        "q and v": {"points": len(queries_and_values), **trend(queries_and_values)},
    }


def print_table(results):
    print(
        f"{'':6} {'eval loss':>10} {'mean ΔM':>10} {'mean ΔD':>10} {'corr.':>8} {'slope':>10} {'q,v corr.':>10} "
        f"{'q,v slope':>10}"
    )
    for method, result in results.items():
        every, some = result["all"], result["q and v"]
        loss = result["train"].get("eval", {}).get("loss")
        print(
            f"{method:6} {shown(loss):>10} {every['mean_delta_m']:10.4g} {every['mean_delta_d']:10.4g} "
            f"{shown(every['correlation']):>8} {shown(every['slope']):>10} "
            f"{shown(some['correlation']):>10} {shown(some['slope']):>10}"
        )


def draw_study(options):
    """Both plots, where plotly is installed."""
    try:
        for name, projections in (("scatter.html", []), ("scatter-q-v.html", ["q_proj", "v_proj"])):
            tables = {method: chosen(os.path.join(options.output, f"{method}.csv"), projections) for method in METHODS}
            figure, _ = draw(tables, projections)
            write_text(os.path.join(options.output, name), figure.to_html(include_plotlyjs=True))
    except ImportError as problem:
        print(
            f"shardora-analyze: no plots, Python package {problem.name} is missing; run launch/install.sh report",
            file=sys.stderr,
        )


def scatter(options):
    tables = {}
    for table in options.tables:
        name, _, path = table.partition("=")
        if not name or not path:
            raise Error(f"'{table}': expected NAME=CSV", USAGE)
        tables[name] = chosen(path, options.projections)
    figure, lines = draw(tables, options.projections)
    write_text(options.output, figure.to_html(include_plotlyjs=True, full_html=True))
    print(
        json.dumps(
            {"output": options.output, **{name: {"points": len(tables[name]), **line} for name, line in lines.items()}}
        )
    )


def study(options):
    if options.steps < CHECKPOINTS:
        raise Error(f"--steps is {options.steps}, expected {CHECKPOINTS} or more", USAGE)
    program = Program(options.shardora, 1, [])
    prepare_folder(options)
    results = {
        method: {"train": train(program, options, method), **analyze(program, options, method)} for method in METHODS
    }
    print_table(results)
    draw_study(options)
    write_text(os.path.join(options.output, "results.json"), json.dumps(results, indent=2) + "\n")
    print(json.dumps({"output": options.output, **results}))


def parser():
    arguments = Arguments(prog="shardora-analyze", description=__doc__)
    commands = arguments.add_subparsers(dest="command", required=True, parser_class=Arguments)
    add = commands.add_parser("scatter", help="the plot, from tables").add_argument
    add("tables", nargs="+", metavar="NAME=CSV")
    add("--output", required=True, metavar="HTML")
    add("--projections", nargs="+", default=[], metavar="NAME", help="only these (all)")
    add = commands.add_parser("study", help="three runs, their tables and plots").add_argument
    add("--model", required=True, metavar="FOLDER", help="the base: a Hugging Face folder")
    add("--train", required=True, metavar="DATASET", help="a dataset file of shardora-prepare")
    add("--eval", metavar="DATASET", help="what to measure the three results on")
    add("--output", required=True, metavar="FOLDER")
    add("--steps", type=int, default=400, metavar="N", help="optimizer steps of each run (400)")
    add("--rank", type=int, default=16, metavar="R", help="of LoRA and DoRA, with alpha = 2 R (16)")
    add("--learning-rate", type=float, default=1e-3, metavar="X", help="of LoRA and DoRA (0.001)")
    add("--full-learning-rate", type=float, default=2e-4, metavar="X", help="of full fine-tuning (0.0002)")
    add("--seed", type=int, default=0)
    add("--shardora", metavar="PROGRAM", help="(the one on PATH, or build/release/shardora)")
    return arguments


def main(arguments):
    own, flags = split_flags(arguments)
    options = parser().parse_args(own)
    options.flags = flags
    return {"scatter": scatter, "study": study}[options.command](options)
