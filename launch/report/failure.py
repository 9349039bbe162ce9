"""How the scripts of this folder refuse: one line, `NAME.py: what, where, what was expected, what to do`, and the exit
status of the program's own table."""

import os
import sys
import traceback

USAGE, BAD_INPUT, INTERNAL, OUTPUT, IO = 64, 65, 70, 73, 74
INSTALL = "run launch/install.sh report and use build/venv/bin/python"


class Failure(Exception):
    """A refusal: its message has what, where, what was expected and what to do."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class NothingYet(Failure):
    """A run that has logged no step: an end for a report, a reason to wait for who watches."""

    def __init__(self, message):
        super().__init__(BAD_INPUT, message)


def missing(problem):
    """A package that is not there, as the user is told."""
    return Failure(USAGE, f"Python package {problem.name} is missing: {INSTALL}")


def _where(problem):
    at = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{os.path.basename(at.filename)}:{at.lineno}"


def run(main):
    """Calls main and ends the process with its status; what it refuses becomes one line."""
    status, message = INTERNAL, ""
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        status, message = failure.status, str(failure)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:  # a fault of these scripts, told as briefly as any other
        message = f"internal error at {_where(problem)}: {type(problem).__name__}: {problem}; please report it"
    print(f"{os.path.basename(sys.argv[0])}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def argument_error(parser):
    """Makes argparse refuse with this program's status instead of its own 2."""

    def refuse(message):
        raise Failure(USAGE, f"{message}; see --help")

    parser.error = refuse
    return parser
