"""Starts the program `shardora` and reads its result."""

import json
import os
import shutil
import subprocess

from shardora.errors import USAGE, Error, one_line

_TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
_OWN = ("build/release/shardora", "../../bin/shardora")  # built here; installed beside share/shardora


class Failed(Error):
    """The program failed, and printed why on standard error; its status is passed on."""


class Program:
    def __init__(self, named, ranks, flags):
        """`named`: the program, else the one on PATH, else this tree's own. `flags` go to every command."""
        own = (os.path.realpath(os.path.join(_TREE, place)) for place in _OWN)
        found = named or shutil.which("shardora") or next(filter(os.path.exists, own), None)
        if found is None or not shutil.which(found):
            raise Error(f"{found or 'shardora'}: no such program; build it, or name it with --shardora", USAGE)
        if ranks < 1:
            raise Error(f"--ranks is {ranks}, expected 1 or more", USAGE)
        self._start = [*([] if ranks == 1 else ["mpirun", "-np", str(ranks)]), found]
        self._flags = flags

    def run(self, command, *flags):
        """The command's result: the JSON object of its last line."""
        words = [*self._start, command, *flags, *self._flags]
        quiet = {**os.environ, "OMPI_MCA_orte_execute_quiet": "1"}  # Open MPI 4's -q, which 5 would refuse
        done = subprocess.run(words, stdout=subprocess.PIPE, env=quiet, check=False)
        if done.returncode != 0:
            status = done.returncode if done.returncode > 0 else 128 - done.returncode
            raise Failed(f"shardora {command} ended with status {status}; its message is above", status)
        try:
            return json.loads(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1])
        except (IndexError, ValueError) as problem:
            raise Error(f"shardora {command}: its result cannot be read: {one_line(problem)}") from None


def add_program_arguments(parser):
    parser.add_argument("--shardora", metavar="PROGRAM", help="(the one on PATH, or build/release/shardora)")
    parser.add_argument("--ranks", type=int, default=1, metavar="N", help="processes, started with mpirun (1)")


def split_flags(arguments):
    """What stands before -- is a command's own; what follows goes to the program."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:split], arguments[split + 1 :]
