#!/usr/bin/env python3
"""Looks at the program's ELF file for what CMakeLists.txt asks of compiler and linker.

    tests/launch/hardening_check.py PROGRAM

Exit status: 0 all there, 1 something is missing, named; 64 not a program.
"""
import platform
import re
import subprocess
import sys

ENDBR64 = bytes.fromhex("f30f1efa")


def readelf(program, *flags):
    return subprocess.run(["readelf", "--wide", *flags, program], check=True, capture_output=True, text=True).stdout


def first_bytes_of(program, function):
    """The four bytes at a function's entry, by its symbol and the section that it lies in."""
    symbol = re.search(rf"^ *\d+: ([0-9a-f]+) +\d+ FUNC .* {function}$", readelf(program, "--symbols"), re.MULTILINE)
    if symbol is None:
        return b""
    place = int(symbol[1], 16)
    for row in re.finditer(r"PROGBITS +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", readelf(program, "--section-headers")):
        address, offset, size = (int(number, 16) for number in row.groups())
        if address <= place < address + size:
            with open(program, "rb") as file:
                file.seek(offset + place - address)
                return file.read(4)
    return b""


def missing_from(program):
    header, segments = readelf(program, "--file-header"), readelf(program, "--program-headers")
    dynamic, names = readelf(program, "--dynamic"), readelf(program, "--dyn-syms")
    stack = re.search(r"GNU_STACK.* (R..?) ", segments)
    checks = {
        "a position-independent executable (-pie)": re.search(r"Type: +DYN", header) and "INTERP" in segments,
        "tables made read-only at the start (-z relro)": "GNU_RELRO" in segments,
        "all symbols bound at the start (-z now)": re.search(r"BIND_NOW|FLAGS_1\).*NOW", dynamic),
        "a stack that is not executable": stack and "E" not in stack[1],
        "no segment both writable and executable": not re.search(r"LOAD.* RWE ", segments),
        "canaries (-fstack-protector-strong)": "__stack_chk_fail" in names,
        "checked string functions (_FORTIFY_SOURCE)": re.search(r" __\w+_chk@", names.replace("__stack_chk", "")),
    }
    if platform.machine() == "x86_64":
        checks["branch targets (-fcf-protection)"] = first_bytes_of(program, "main") == ENDBR64
    return [what for what, found in checks.items() if not found]


def main():
    try:
        missing = missing_from(sys.argv[1])
    except (IndexError, OSError, subprocess.CalledProcessError) as error:
        print(f"hardening_check.py: expected a program to look at ({error})", file=sys.stderr)
        return 64
    for what in missing:
        print(f"hardening_check.py: {sys.argv[1]} has not: {what}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
