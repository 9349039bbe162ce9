"""The console commands, and what they have in common: a signal or an error ends them with one line and its exit status."""

import errno
import importlib
import os
import signal
import sys
import traceback

from shardora.errors import INPUT_OUTPUT, INTERNAL, OUT_OF_MEMORY, UNAVAILABLE, Error, one_line

_PATIENCE = 3  # seconds


def _stop_on_signals():
    """SIGTERM and SIGINT become KeyboardInterrupt, again and again until run() has it: Python drops an exception that
    comes inside some of its own callbacks, those around a fork among them."""
    first = []

    def stop(number, _):
        first.append(number)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        raise KeyboardInterrupt(first[0])

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as a shell starts what it puts in the background
            signal.signal(number, stop)
    sys.unraisablehook = lambda lost: None if lost.exc_type is KeyboardInterrupt else sys.__unraisablehook__(lost)


def run(name, main, arguments, interrupted="interrupted; nothing was written"):
    """Runs main(arguments) and returns the process's exit status. `interrupted`: the line for a signal; empty: none."""
    _stop_on_signals()
    try:
        return main(arguments) or 0
    except Error as error:
        return _print_error(name, error.text, error.status)
    except KeyboardInterrupt as stop:
        signal.setitimer(signal.ITIMER_REAL, 0)
        status = 128 + (stop.args[0] if stop.args else signal.SIGINT)
        if interrupted:
            _print_error(name, interrupted, status)
        os._exit(status)  # everything is put away; Python's own end would wait for threads that the signal has stranded
    except BrokenPipeError:
        # Whoever read standard output has gone; a second complaint when Python flushes it would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INPUT_OUTPUT
    except OSError as problem:
        return _print_error(name, _of_system(problem), INPUT_OUTPUT)
    except MemoryError:
        return _print_error(name, "out of memory; lower --processes or --max-record-bytes", OUT_OF_MEMORY)
    except ImportError as problem:
        advice = "run launch/install.sh data report, which installs into build/venv"
        return _print_error(name, f"Python package {problem.name} is missing; {advice}", UNAVAILABLE)
    except Exception as problem:  # a fault of this package, of which the place is worth more than a page of calls
        *_, place = traceback.extract_tb(problem.__traceback__)
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return _print_error(name, f"internal error at {where}: {problem!r}; please report it", INTERNAL)


def _of_system(problem):
    reason = f"{problem.filename}: {one_line(problem.strerror or problem)}"
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason}; nothing was written, make room and start again"
    return reason


def _print_error(name, text, status):
    print(f"{name}: {one_line(text, 2000)}", file=sys.stderr)
    return status


def _command(name, module, **how):
    """The function that a console script calls. The module is imported inside run(), which reports a missing package."""

    def call(arguments):
        return importlib.import_module(f"shardora.{module}").main(arguments)

    return lambda: run(f"shardora-{name}", call, sys.argv[1:], **how)


prepare = _command("prepare", "data.prepare")
text = _command("text", "data.text")
show = _command("show", "data.show")
report = _command("report", "report.report", interrupted="")
wandb = _command("wandb", "report.wandb", interrupted="")
convert = _command("convert", "convert.command")
commonsense = _command("commonsense", "commonsense")
analyze = _command("analyze", "analyze")
