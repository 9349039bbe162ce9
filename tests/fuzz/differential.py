#!/usr/bin/env python3
"""Compares our reader of safetensors files with the reference one, in one process, on files that are right but for a
few faults. Nothing may be accepted here that the reference refuses; what only the reference accepts is told by reason.

    tests/fuzz/differential.py --library build/release/tests/fuzz/libfuzz_accepts.so --count 1000000 --seed 1

Exit status: 0 none, 1 a file that only we accept (kept in --keep) or a refusal of a wrong kind, 77 without the package
safetensors.
"""
import argparse
import collections
import ctypes
import os
import random
import re
import sys
import tempfile
from pathlib import Path

from faulty_files import faulty_file

ROOM = 2048


class Ours:
    """Our parser, on one file in memory that is written again for each question."""

    def __init__(self, library, folder):
        self.accepts = ctypes.CDLL(str(library)).shardora_accepts
        self.reason = ctypes.create_string_buffer(ROOM)
        self.path = os.path.join(folder, "model.safetensors").encode()
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def __call__(self, content):
        os.ftruncate(self.descriptor, len(content))
        os.pwrite(self.descriptor, content, 0)
        answer = self.accepts(self.path, self.reason, ctypes.c_size_t(ROOM))
        return answer, self.reason.value.decode("utf-8", "replace")


def theirs(deserialize, error, content):
    try:
        deserialize(content)
        return True
    except error:
        return False


def kind_of(reason):
    """A reason without names and numbers."""
    reason = re.sub(r"^.*?model\.safetensors: ", "", reason)
    reason = re.sub(r"near '.*", "near …", reason)
    reason = re.sub(r"tensor '.*?' (?=is|has|lies|starts)", "tensor … ", reason)
    reason = re.sub(r"has .* in its (shape|data_offsets)", r"has … in its \1", reason)
    reason = re.sub(r"dtype .*", "dtype …", reason)
    return re.sub(r"'.*?'", "…", re.sub(r"\d+", "N", reason))


def compare(arguments, deserialize, error):
    source = random.Random(arguments.seed)
    counts, reasons, wrong = collections.Counter(), collections.Counter(), 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        ours = Ours(arguments.library, folder)
        for number in range(arguments.count):
            content = faulty_file(source)
            answer, reason = ours(content)
            reference = theirs(deserialize, error, content)
            counts[answer == 1, reference] += 1
            if answer == 0 and reference:
                reasons[kind_of(reason)] += 1
            if answer == -1 or (answer == 1 and not reference):
                wrong += 1
                keep = Path(arguments.keep) / f"differential-{arguments.seed}-{number}.safetensors"
                keep.write_bytes(content)
                print(f"{keep}: {'accepted by us alone' if answer == 1 else 'refused wrongly: ' + reason}")
    report(arguments, counts, reasons)
    return 1 if wrong or 0 in (counts[True, True], counts[False, False]) else 0


def report(arguments, counts, reasons):
    print(f"{arguments.count} files, seed {arguments.seed}: accepted by both {counts[True, True]}, refused by both "
          f"{counts[False, False]}, by us alone accepted {counts[True, False]}, refused {counts[False, True]}")
    for reason, count in reasons.most_common():
        print(f"  refused by us alone: {count:8} {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", default=".", help="where files are kept that only we accept")
    arguments = parser.parse_args()
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        print("differential.py: the Python package safetensors is missing: skipped (launch/install.sh data)")
        return 77
    if not arguments.library.is_file():
        print(f"differential.py: --library {arguments.library}: no such file; build the target fuzz_accepts",
              file=sys.stderr)
        return 64
    return compare(arguments, deserialize, SafetensorError)


if __name__ == "__main__":
    sys.exit(main())
