"""metrics.jsonl: one JSON object a line, growing while a run is on.

A last line without its end is half-written, or torn by a kill; it is not read. Any other line must be an object with a
`step`. Numbers that are not finite (null, as the program writes them, NaN, Infinity) become None.
"""

import json
import math
import os

from shardora.errors import INPUT_OUTPUT, Error

STEP, EVALUATION = "step", "evaluation"
_MOST = 2**63
LAYERS = "magnitude_drift_by_layer"


def kind_of(line):
    return EVALUATION if "eval_loss" in line else STEP


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _require_number(line, key, where):
    value = line.get(key)
    if value is None or isinstance(value, float):
        return
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _MOST:
        raise Error(f"{where}: {key} is {json.dumps(value)[:60]}, expected a number or null")


def _require_numbers(line, where):
    for key, value in line.items():
        if isinstance(value, dict):
            _require_numbers({f"{key}.{inner}": number for inner, number in value.items()}, where)
        elif key == LAYERS and isinstance(value, list):
            _require_numbers({f"{key}[{k}]": number for k, number in enumerate(value)}, where)
        elif key != "eval_name":
            _require_number(line, key, where)
        elif not isinstance(value, str):
            raise Error(f"{where}: eval_name is {json.dumps(value)[:60]}, expected text")


def parse(text, where):
    """The object of one line; `where` is file:line, for messages."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        shown = ascii(text[:40])
        raise Error(
            f"{where}: {shown} is not JSON, expected one object a line as shardora train writes it; remove the line"
        ) from None
    if not isinstance(line, dict) or isinstance(line.get("step"), bool) or not isinstance(line.get("step"), int):
        raise Error(
            f"{where}: no whole number `step`, expected one object a line as shardora train writes it; remove the line"
        )
    _require_numbers(line, where)
    return _finite(line)


def decode(raw, where):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Error(f"{where}: is not UTF-8, expected JSON; remove the line") from None


def read(path):
    """All whole lines of the file, in order."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as problem:
        raise Error(f"{path}: {problem.strerror}", INPUT_OUTPUT) from None
    whole = content[: content.rfind(b"\n") + 1]
    lines = []
    for number, raw in enumerate(whole.split(b"\n"), 1):
        if raw.strip():
            where = f"{path}:{number}"
            lines.append(parse(decode(raw, where), where))
    return lines


class GrowingFile:
    """A file that is being written, read as it grows: whole lines only, and anew from its start where a resumed run has
    cut it (in place, or by another file of the same name)."""

    def __init__(self, path):
        self._path, self._file, self._rest = path, None, b""
        self.number = 0  # of the last line that was given out, from 1

    def new_lines(self):
        """What has come since the last call, as (line number, bytes). Nothing while the file is not there."""
        lines = self._read() if self._file else []
        if self._is_another():
            self._open()
            lines += self._read() if self._file else []
        return lines

    def _is_another(self):
        if self._file is None:
            return True
        try:
            named = os.stat(self._path)
        except FileNotFoundError:  # between two of them
            return False
        own = os.fstat(self._file.fileno())
        return (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino) or own.st_size < self._file.tell()

    def _open(self):
        self.close()
        self._rest, self.number = b"", 0
        try:
            self._file = open(self._path, "rb")
        except FileNotFoundError:
            self._file = None

    def _read(self):
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        first = self.number + 1
        self.number += len(whole)
        return list(enumerate(whole, first))

    def close(self):
        if self._file:
            self._file.close()
            self._file = None
