"""The report of a training run: one HTML file to open in a browser, during the run or after it.

shardora-report DIR                       DIR/report.html of the run in DIR (output.dir of shardora train)
shardora-report DIR --watch 30            and again every 30 seconds, until the run ends
shardora-report --compare DIR DIR…        several runs over each other, as comparison.html
shardora-report DIR --tensorboard OUT     TensorBoard's event files as well, in OUT, a folder a run
"""

import math
import os
import sys
import time

from shardora.atomic_file import write_text
from shardora.errors import USAGE, Arguments, Error
from shardora.report import page, summary, tensorboard
from shardora.report.run_folder import NoStepYet, read_run


def parse(arguments):
    parser = Arguments(prog="shardora-report", description=__doc__, allow_abbrev=False)
    parser.add_argument("dir", nargs="*", metavar="DIR", help="a run's output.dir")
    parser.add_argument("--compare", nargs="+", metavar="DIR", default=[], help="two or more runs on one page")
    parser.add_argument("--output", metavar="FILE", help="the page to write (DIR/report.html; comparison.html)")
    parser.add_argument(
        "--watch", metavar="SECONDS", type=float, help="write again at this interval until all runs end"
    )
    parser.add_argument("--tensorboard", metavar="OUT", help="a folder for TensorBoard's event files")
    options = parser.parse_args(arguments)
    if options.watch is not None and not 1 <= options.watch <= 86400:
        raise Error(f"--watch is {options.watch:g}, expected seconds from 1 to 86400", USAGE)
    if not options.compare and len(options.dir) != 1:
        raise Error(f"{len(options.dir)} folders, expected one run's output.dir; --compare takes several", USAGE)
    options.compares = bool(options.compare)
    options.dirs = options.dir + options.compare
    if options.compares and len(options.dirs) < 2:
        raise Error("--compare has one folder, expected two or more", USAGE)
    default = "comparison.html" if options.compares else os.path.join(options.dirs[0], "report.html")
    options.output = options.output or default
    return options


def report_once(options):
    """Writes everything once; the states of the runs."""
    runs = [read_run(folder, time.time()) for folder in options.dirs]
    states = [summary.state_of(one) for one in runs]
    refresh = math.ceil(options.watch) if options.watch and goes_on(states) else 0
    write_text(
        options.output, page.of_several(runs, refresh) if options.compares else page.of_run(runs[0], states[0], refresh)
    )
    if options.tensorboard:
        for one, name in zip(runs, page.unique_names(runs)):
            tensorboard.write(one, name, options.tensorboard)
    return states


def goes_on(states):
    return any(state.kind == summary.RUNNING for state in states)


def wait_for_first_step(options):
    """The states of the runs, once a step has been logged."""
    while True:
        try:
            return report_once(options)
        except NoStepYet as nothing:
            print(f"shardora-report: {nothing}", file=sys.stderr)
            time.sleep(options.watch)


def main(arguments):
    options = parse(arguments)
    states = wait_for_first_step(options) if options.watch else report_once(options)
    while options.watch and goes_on(states):
        time.sleep(options.watch)
        states = report_once(options)
    print(f"{options.output}: {'; '.join(state.text for state in states)}", file=sys.stderr)
    return 0
