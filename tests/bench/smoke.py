"""smoke.py KEY… -- COMMAND…: runs a benchmark program on tiny sizes; its last line must be a JSON object that has each
key, dots for depth, as a number that is finite and above zero. Exit 77 where the program says so: something is missing."""
import json
import math
import subprocess
import sys


def main():
    words = sys.argv[1:]
    keys, command = words[:words.index("--")], words[words.index("--") + 1:]
    run = subprocess.run(command, capture_output=True, text=True)
    print(run.stdout + run.stderr)
    if run.returncode != 0:
        return run.returncode
    result = json.loads(run.stdout.splitlines()[-1])
    for key in keys:
        value = result
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            print(f"{key} is {value}, expected a finite number above zero")
            return 1
    return 0


sys.exit(main())
