"""One line for every bad input: what, where, what was expected, what to do; and the exit status of its kind."""

import argparse
import errno
import os
import signal
import sys
import traceback

USAGE, BROKEN_INPUT, OUTPUT, INPUT_OUTPUT, INTERNAL, UNAVAILABLE = 64, 65, 73, 74, 70, 69


class Refusal(Exception):
    def __init__(self, text, status=BROKEN_INPUT):
        super().__init__(text, status)  # both, so that it travels between processes
        self.text, self.status = text, status


class NothingYet(Refusal):
    """A run that has logged no step: an end for a report, a reason to wait for who watches."""


class Arguments(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message):
        raise Refusal(f"{message}; see --help", USAGE)


def one_line(text, most=300):
    """Other people's messages, without line breaks and control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(value, most=60):
    """A value of a file, as it may stand in a message."""
    return one_line(repr(value), most)


def missing(problem):
    """A package that is not there, as the user is told."""
    return Refusal(
        f"Python package {problem.name} is missing; run launch/install.sh data report, then use build/venv/bin/python",
        UNAVAILABLE,
    )


def of_system(problem, path=None):
    """An operating system's error, as a refusal."""
    place = problem.filename if problem.filename is not None else path
    reason = one_line(problem.strerror or problem)
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(f"{place}: {reason}; nothing was written, make room and start again", INPUT_OUTPUT)
    return Refusal(f"{place}: {reason}", INPUT_OUTPUT)


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
    """Runs main(arguments) and returns the process's exit status. `interrupted`: what is said then; empty: nothing."""
    _stop_on_signals()
    try:
        return main(arguments) or 0
    except Refusal as refusal:
        return _say(name, refusal.text, refusal.status)
    except KeyboardInterrupt as stop:
        signal.setitimer(signal.ITIMER_REAL, 0)
        status = 128 + (stop.args[0] if stop.args else signal.SIGINT)
        if interrupted:
            _say(name, interrupted, status)
        os._exit(status)  # everything is put away; Python's own end would wait for threads that the signal has stranded
    except BrokenPipeError:
        # Whoever read standard output has gone; a second complaint when Python flushes it would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INPUT_OUTPUT
    except OSError as problem:
        refusal = of_system(problem)
        return _say(name, refusal.text, refusal.status)
    except MemoryError:
        return _say(name, "out of memory; lower --processes or --max-record-bytes", 71)
    except ImportError as problem:
        return _say(name, missing(problem).text, UNAVAILABLE)
    except Exception as problem:  # a fault of the script's own, of which the place is worth more than a page of calls
        *_, place = traceback.extract_tb(problem.__traceback__)
        return _say(
            name,
            f"internal error at {os.path.basename(place.filename)}:{place.lineno}: {problem!r}; please report it",
            INTERNAL,
        )


def _say(name, text, status):
    print(f"{name}: {one_line(text, 2000)}", file=sys.stderr)
    return status
