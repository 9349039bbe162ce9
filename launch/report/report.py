#!/usr/bin/env python3
"""The report of a training run: one HTML file to open in a browser, during the run or after it.

    report.py DIR                       DIR/report.html of the run in DIR (output.dir of shardora train)
    report.py DIR --watch 30            and again every 30 seconds, until the run ends
    report.py --compare DIR DIR…        several runs over each other: comparison.html
    report.py DIR --tensorboard OUT     TensorBoard event files as well, in OUT/NAME
"""

import argparse
import os
import sys
import time

from failure import USAGE, Failure, argument_error, missing, run

try:
    import page
    import single
    import verdict
    from run_data import read_run
except ModuleNotFoundError as problem:
    run(lambda _: (_ for _ in ()).throw(missing(problem)))


def parse(arguments):
    parser = argument_error(argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False))
    parser.add_argument("dir", nargs="+", metavar="DIR", help="a run's output.dir")
    parser.add_argument("--output", metavar="FILE", help="the page to write (DIR/report.html)")
    parser.add_argument("--watch", metavar="SECONDS", type=float, help="write again at this interval until the run ends")
    options = parser.parse_args(arguments)
    if options.watch is not None and not 0 < options.watch <= 86400:
        raise Failure(USAGE, f"--watch is {options.watch:g}, expected seconds between 0 and 86400")
    if len(options.dir) > 1:
        raise Failure(USAGE, f"{len(options.dir)} folders, expected one; --compare takes several")
    return options


def report_once(options):
    found = read_run(options.dir[0], time.time())
    state = verdict.state_of(found)
    refresh = round(options.watch) if options.watch and state.kind == verdict.RUNNING else 0
    page.write(options.output or os.path.join(options.dir[0], "report.html"), single.render(found, state, refresh))
    return state


def main(arguments):
    options = parse(arguments)
    state = report_once(options)
    while options.watch and state.kind == verdict.RUNNING:
        time.sleep(options.watch)
        state = report_once(options)
    print(f"{options.output or os.path.join(options.dir[0], 'report.html')}: {state.text}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run(main)
