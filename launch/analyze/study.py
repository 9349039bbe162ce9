#!/usr/bin/env python3
"""The DoRA paper's study in small: full fine-tuning, LoRA and DoRA of one base on one task, and how each of them has
moved the weights' magnitudes and directions.

    study.py --model MODEL --train train.safetensors --output FOLDER [--eval eval.safetensors] [--steps 400]

Writes FOLDER/full, FOLDER/lora and FOLDER/dora (runs with four checkpoints each), a table of each, and, where plotly is
installed, scatter.html with the three plots side by side. Prints correlation and slope of ΔM over ΔD, as the program
gives them, for all projections and, as the paper, for the query and value projections. FOLDER must not exist, or be an
earlier study's, which goes on where it was. What follows -- goes to all three runs: -- --train.global_batch=16
"""

import argparse
import json
import os
import sys

import scatter  # first: it knows the way to what the scripts have in common
from program import Program
from refusal import OUTPUT, USAGE, Arguments, Refusal, run
from whole_file import write_text

METHODS = ("full", "lora", "dora")
CHECKPOINTS = 4
MARK = "study.json"


def parse(arguments):
    parser = Arguments(prog="study.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", required=True, metavar="FOLDER", help="the base: a Hugging Face folder")
    add("--train", required=True, metavar="DATASET", help="a dataset file of launch/data/prepare.py")
    add("--eval", metavar="DATASET", help="what to measure the three results on")
    add("--output", required=True, metavar="FOLDER")
    add("--steps", type=int, default=400, metavar="N", help="optimizer steps of each run (400)")
    add("--rank", type=int, default=16, metavar="R", help="of LoRA and DoRA, with alpha = 2 R (16)")
    add("--learning-rate", type=float, default=1e-3, metavar="X", help="of LoRA and DoRA (0.001)")
    add("--full-learning-rate", type=float, default=2e-4, metavar="X", help="of full fine-tuning (0.0002)")
    add("--seed", type=int, default=0)
    add("--shardora", metavar="PROGRAM", help="(the one on PATH, or build/release/shardora)")
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    options.flags = arguments[split + 1:]
    if options.steps < CHECKPOINTS:
        raise Refusal(f"--steps is {options.steps}, expected {CHECKPOINTS} or more", USAGE)
    return options


def prepare_folder(options):
    """An own folder: new, or an earlier study's of the same program and questions."""
    mark, asked = os.path.join(options.output, MARK), {key: vars(options)[key] for key in sorted(vars(options))}
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if json.load(file) != asked:
                raise Refusal(f"{options.output}: holds a study that was asked for something else ({MARK} says what); "
                              "choose another folder", OUTPUT)
        return
    if os.path.exists(options.output) and os.listdir(options.output):
        raise Refusal(f"{options.output}: is not empty and no study's; choose another folder", OUTPUT)
    os.makedirs(options.output, exist_ok=True)
    write_text(mark, json.dumps(asked, indent=2) + "\n")


def train(program, options, method):
    rate = options.full_learning_rate if method == "full" else options.learning_rate
    words = [f"--model.path={options.model}", f"--adapter.method={method}",
             f"--data.train={options.train}", f"--output.dir={os.path.join(options.output, method)}",
             f"--train.steps={options.steps}", f"--train.learning_rate={rate}", f"--train.seed={options.seed}",
             f"--output.checkpoint_every={options.steps // CHECKPOINTS}", f"--output.keep={CHECKPOINTS + 1}"]
    if method != "full":
        words += [f"--adapter.rank={options.rank}", f"--adapter.alpha={2 * options.rank}"]
    if options.eval:
        words.append(f"--data.eval={options.eval}")
    return program.run("train", *words, *options.flags)


def analyze(program, options, method):
    table = os.path.join(options.output, f"{method}.csv")
    result = program.run("analyze", f"--model.path={options.model}", f"--analyze.csv={table}",
                         f"--analyze.checkpoints={os.path.join(options.output, method)}")
    queries_and_values = [row for row in scatter.read_table(table) if row["projection"] in ("q_proj", "v_proj")]
    return {"all": {key: result[key] for key in ("points", "mean_delta_m", "mean_delta_d", "correlation", "slope")},
            "q and v": {"points": len(queries_and_values), **scatter.trend(queries_and_values)}}


def print_table(results):
    print(f"{'':6} {'eval loss':>10} {'mean ΔM':>10} {'mean ΔD':>10} {'corr.':>8} {'slope':>10} {'q,v corr.':>10} "
          f"{'q,v slope':>10}")
    for method, result in results.items():
        every, some = result["all"], result["q and v"]
        loss = result["train"].get("eval", {}).get("loss")
        print(f"{method:6} {scatter.shown(loss):>10} {every['mean_delta_m']:10.4g} {every['mean_delta_d']:10.4g} "
              f"{scatter.shown(every['correlation']):>8} {scatter.shown(every['slope']):>10} "
              f"{scatter.shown(some['correlation']):>10} {scatter.shown(some['slope']):>10}")


def draw(options):
    """Both plots; without plotly, a word about it."""
    try:
        for name, projections in (("scatter.html", []), ("scatter-q-v.html", ["q_proj", "v_proj"])):
            tables = {method: scatter.chosen(os.path.join(options.output, f"{method}.csv"), projections)
                      for method in METHODS}
            figure, _ = scatter.draw(tables, projections)
            write_text(os.path.join(options.output, name), figure.to_html(include_plotlyjs=True))
    except ImportError as problem:
        print(f"study.py: no plots, Python package {problem.name} is missing; run launch/install.sh --python plotly, "
              "then use build/venv/bin/python", file=sys.stderr)


def main(arguments):
    options = parse(arguments)
    program = Program(options.shardora, 1, [])
    prepare_folder(options)
    results = {method: {"train": train(program, options, method), **analyze(program, options, method)}
               for method in METHODS}
    print_table(results)
    draw(options)
    write_text(os.path.join(options.output, "results.json"), json.dumps(results, indent=2) + "\n")
    print(json.dumps({"output": options.output, **results}))


if __name__ == "__main__":
    sys.exit(run("study.py", main, sys.argv[1:]))
