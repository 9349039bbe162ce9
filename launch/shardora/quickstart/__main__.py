"""The quickstart's own steps: python3 -m shardora.quickstart STEP … make, split and table need nothing but the standard
library; gguf_model and tickets need what launch/install.sh smollm2 installs."""

import importlib
import sys

from shardora.commands import run
from shardora.errors import USAGE, Error

STEPS = ("gguf_model", "make", "split", "table", "tickets")


def main(arguments):
    if not arguments or arguments[0] not in STEPS:
        raise Error(f"expected one of {', '.join(STEPS)}", USAGE)
    return importlib.import_module(f"shardora.quickstart.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    sys.exit(run("quickstart", main, sys.argv[1:]))
