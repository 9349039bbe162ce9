"""run.sh's other half: which parts, in which order, in what time; a JSON file, a table, the exit status."""
import argparse
import json
import pathlib
import sys
import time

import operations
import speed
from context import ROOT, Context, device
from report import Report

PARTS = ["operations", "steps", "speed", "sanitizer"]


def whole_steps(context, report, a):
    program = context.program("shardora")
    if not program:
        return report.skipped("steps", "all", f"shardora is not in {context.build}")
    words = [sys.executable, pathlib.Path(__file__).with_name("whole_steps.py"), f"--program={program}",
             f"--data={context.data}", f"--backend={context.backend}"] + (["--quick"] if a.quick else [])
    done = context.run(words, "steps", 200, OMP_NUM_THREADS="4")
    for line in done.output.splitlines():
        if not line.startswith("{"):
            continue  # what a library says
        row = json.loads(line)
        if "failed" in row:
            report.failed("steps", row["what"], row["failed"])
        elif "skipped" in row:
            report.skipped("steps", row["what"], row["skipped"])
        else:
            report.figure("steps", row["what"], row["value"], row.get("unit", ""), row.get("goal"))
    if done.status == 77:
        report.skipped("steps", "all", done.output.strip().splitlines()[-1])
    elif done.status != 0:
        (report.skipped if done.timed_out else report.failed)("steps", "the rest", done.why())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="where the programs are; default: bin of a pack, or build/cuda")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/gpu-results")
    parser.add_argument("--seconds", type=float, default=570, help="what is not done by then is not measured")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer splits and steps of whole runs")
    parser.add_argument("--rehearse", action="store_true", help="all of it on the CPU, tiny: only that it works")
    a = parser.parse_args()
    found = device()
    if not found and not a.rehearse:
        print("skipped: no NVIDIA GPU here (nvidia-smi shows none)")
        return 77
    context = Context(a.out, a.seconds, a.build, "cpu" if a.rehearse else "cuda")
    report = Report(a.out / "results.json")
    report.keep("device", found)
    report.keep("rehearsal", a.rehearse)
    parts = dict(operations=lambda: operations.operations(context, report),
                 steps=lambda: whole_steps(context, report, a),
                 speed=lambda: speed.speed(context, report, a.rehearse, found),
                 sanitizer=lambda: operations.sanitizer(context, report))
    for part in PARTS:
        if part not in a.only:
            continue
        begin = time.monotonic()
        try:
            parts[part]()
        except Exception as error:  # the other parts' figures are worth having
            report.failed(part, "the rest", repr(error))
        print(f"== {part}: {time.monotonic() - begin:.0f} s", flush=True)
    print(f"\n{report.table()}\n\n{found and found['name']}: {len(report.misses())} goals missed; {a.out / 'results.json'}")
    return report.status()


if __name__ == "__main__":
    sys.exit(main())
