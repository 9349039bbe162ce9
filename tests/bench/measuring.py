"""What the measuring scripts share: starting a program, its JSON, medians, tables. Python's standard library alone."""
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                                OMPI_MCA_mpi_yield_when_idle="1")
SHAPES = {  # hidden, intermediate, layers, heads, KV heads, vocabulary; tied: as bench_train's --shape
    "260K": (64, 172, 5, 8, 4, 512),
    "15M": (288, 768, 6, 6, 6, 32000),
    "110M": (768, 2048, 12, 12, 12, 32000),
    "1B": (2048, 8192, 16, 32, 8, 128256),
    "3B": (3072, 8192, 28, 24, 8, 128256),
    "8B": (4096, 14336, 32, 32, 8, 128256),
}
UNTIED = {"8B"}  # a head of its own


def run(command, prefix=""):
    """The JSON object on the last line of what the command prints. Ends this program where it fails."""
    words = shlex.split(prefix) + [str(word) for word in command]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(words)} ended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def best_and_median(values):
    return dict(best=max(values), median=statistics.median(values))


def print_table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def finish(result, path):
    """The result as the last line, and in a file where one is named."""
    if path:
        pathlib.Path(path).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def add_common(parser, program):
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path, help=f"where {program} was built")
    parser.add_argument("--prefix", default="", help="put before each measured command, for example: nice -n -10")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="also write the result to this file")
