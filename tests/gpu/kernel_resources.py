#!/usr/bin/env python3
"""Registers, shared memory and spills of every kernel, as a table; exit status 1 where one spills registers.

    kernel_resources.py [BUILD_FOLDER]        a configured `cuda` preset, by default build/cuda; needs nvcc, no GPU

Each .cu file is compiled again with its own command line and `-Xptxas -v`. Shared memory is what a kernel declares; what
its launch asks for beside (dynamic) is not known to the compiler. Stack: local memory for what registers cannot hold.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

PROPERTIES = re.compile(
    r"Compiling entry function '(?P<kernel>\S+)' for '(?P<arch>\w+)'\n"
    r"(?:.*\n)*?\s*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r"(?:.*\n)*?.*Used (?P<registers>\d+) registers(?P<rest>.*)")


def compiler_says(entry):
    words = shlex.split(entry["command"])
    with tempfile.TemporaryDirectory() as folder:
        words[words.index("-o") + 1] = os.path.join(folder, "kernels.o")
        done = subprocess.run(words + ["-Xptxas", "-v"], cwd=entry["directory"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{entry['file']}: the compiler failed\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def demangled(names):
    done = subprocess.run(["c++filt", "-n"], input="\n".join(names), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def short(name):
    name = name.replace("(anonymous namespace)::", "").replace("shardora::", "").replace("cuda::", "")
    while (bare := re.sub(r"\([^()]*\)", "", name)) != name:  # parameters
        name = bare
    return re.sub(r"::\{lambda#\d+\}", "", name).removeprefix("void ").strip()


def resources_of(entry):
    said = compiler_says(entry)
    found = list(PROPERTIES.finditer(said))
    if len(found) != said.count("Compiling entry function"):
        sys.exit(f"{entry['file']}: the compiler's report is not as expected\n{said}")
    rows = []
    for kernel, name in zip(found, demangled([match["kernel"] for match in found])):
        shared = re.search(r"(\d+) bytes smem", kernel["rest"])
        rows.append((pathlib.Path(entry["file"]).name, short(name), kernel["arch"], int(kernel["registers"]),
                     int(shared[1]) if shared else 0, int(kernel["stack"]), int(kernel["stores"]), int(kernel["loads"])))
    return rows


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/cuda")
    commands = build / "compile_commands.json"
    if not commands.exists():
        sys.exit(f"{commands} is missing; configure first: cmake --preset cuda")
    # The tests compile the same files as C++, for the emulation.
    entries = [entry for entry in json.loads(commands.read_text())
               if entry["file"].endswith(".cu") and "SHARDORA_EMULATED" not in entry["command"]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = sorted(row for rows in pool.map(resources_of, entries) for row in rows)
    if not rows:
        sys.exit(f"{commands} names no kernel; configure with the cuda preset")
    print("| file | kernel | for | registers | shared bytes | stack bytes | spill stores | spill loads |\n" + "| --- " * 8 + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row) + " |")
    spilling = [row[1] for row in rows if row[-1] + row[-2] > 0]
    print(f"\n{len(rows)} kernels, at most {max(row[3] for row in rows)} registers a thread, "
          + (f"{len(spilling)} spill: {', '.join(spilling)}" if spilling else "none spills"))
    sys.exit(1 if spilling else 0)


if __name__ == "__main__":
    main()
