"""Runs the commands of launch/docs/tutorial.md, one after another in one shell, and says how long each took.

    python3 tests/launch/tutorial.py [NAME=VALUE …]     for other values than the page's first lines have
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SKIPPED = 77
ROOT = pathlib.Path(__file__).resolve().parents[2]


def commands(page):
    """The commands of all its blocks, each with the lines that continue it."""
    text = "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


def script(found, given):
    lines = ["set -euo pipefail"]
    for command in found:
        name = re.match(r"([A-Z]+)=", command)
        if name:
            lines.append(f"{name[1]}={given[name[1]]}" if name[1] in given else command)
            continue
        told = " ".join(command.split())[:70].replace("'", "")
        lines += ["begin=$(date +%s%N)", f"{{ {command}\n}} > \"$LOG\" 2>&1 || {{ cat \"$LOG\"; echo 'FAILED: {told}'; exit 1; }}",
                  f"printf '%7.2f s  %s\\n' $(( ($(date +%s%N) - begin) / 10000000 ))e-2 '{told}'", 'tail -n 1 "$LOG" | cut -c 1-300']
    return "\n".join(lines)


def main(arguments):
    data = pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", ROOT / "../shared/data"))
    if not (data / "gsm8k/train.jsonl").exists():
        print(f"skipped: {data} has no GSM8K; SHARDORA_TEST_DATA names the folder of test data")
        return SKIPPED
    given = {"MODEL": data / "models/stories260K", "DATA": data / "gsm8k/train.jsonl", "QUESTIONS": data / "commonsense"}
    given |= dict(argument.split("=", 1) for argument in arguments)
    page = (ROOT / "launch/docs/tutorial.md").read_text("utf-8")
    with tempfile.NamedTemporaryFile() as log:
        environment = os.environ | {"LOG": log.name, "LC_ALL": "C"}
        return subprocess.run(["bash", "-c", script(commands(page), given)], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
