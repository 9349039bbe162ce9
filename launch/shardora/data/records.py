"""Files as streams of records: JSON arrays, JSON Lines, CSV, Parquet and plain text, never more than one record at a
time in memory, and none longer than a limit."""

import codecs
import csv
import dataclasses
import os

from shardora.errors import Error, one_line

LINES, ARRAY, TABLE, PARQUET, TEXT = "JSON Lines", "JSON", "CSV", "Parquet", "text"
_KINDS = {".jsonl": LINES, ".ndjson": LINES, ".csv": TABLE, ".tsv": TABLE, ".parquet": PARQUET}
_BLOCK = 1 << 16


@dataclasses.dataclass
class Record:
    where: str  # for messages: file, and line or record
    value: object  # bytes: a line of JSON; str: a document; else what JSON, CSV or Parquet hold
    size: int  # bytes of the file


def kind_of(path):
    """By the name; what is called .json may hold an array or lines, its first character tells."""
    extension = os.path.splitext(path)[1].lower()
    if extension != ".json":
        return _KINDS.get(extension, TEXT)
    with open(path, "rb") as file:
        start = file.read(_BLOCK)
    return ARRAY if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[" else LINES


def records(path, longest, separator=None):
    """All records of a file. `longest`: bytes that one record may have; `separator`: what parts documents in text."""
    if os.path.isdir(path):
        raise Error(f"{path}: is a folder, expected a file")
    if os.path.isfile(path) and os.path.getsize(path) == 0:  # a pipe may have no size
        raise Error(f"{path}: the file is empty, expected at least one record")
    readers = {LINES: _lines, ARRAY: _array, TABLE: _table, PARQUET: _parquet}
    kind = kind_of(path)
    found = _documents(path, longest, separator) if kind == TEXT else readers[kind](path, longest)
    count = 0
    for count, record in enumerate(found, 1):
        yield record
    if count == 0:
        raise Error(f"{path}: no record was found, expected at least one")


def _too_long(where, longest):
    return Error(f"{where}: longer than {longest} bytes; raise --max-record-bytes if that is meant")


def _lines(path, longest):
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(longest + 2):  # the line break does not count
            number += 1
            where, size = f"{path}, line {number}", len(line)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            line = line.strip(b" \t\r\n")
            if len(line) > longest:
                raise _too_long(where, longest)
            if line:
                yield Record(where, line, size)


class _Metered:
    """A file that counts what is read of it, and refuses to go on while one record only grows."""

    def __init__(self, file, path, longest):
        self._file, self._path, self._longest = file, path, longest
        self.taken = self.number = 0  # bytes since the last record; records so far

    def read(self, size=-1):
        if size == 0:
            return b""
        self.taken += max(size, 0)
        if self.taken > self._longest + 2 * _BLOCK:
            raise _too_long(f"{self._path}, record {self.number + 1}", self._longest)
        return self._file.read(size)


def _array(path, longest):
    import ijson

    with open(path, "rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        meter = _Metered(file, path, longest)
        try:
            for value in ijson.items(meter, "item", use_float=True, buf_size=_BLOCK):
                meter.number += 1
                taken, meter.taken = meter.taken, 0
                yield Record(f"{path}, record {meter.number}", value, taken)
        except (ijson.JSONError, UnicodeDecodeError) as problem:
            raise Error(f"{path}, record {meter.number + 1}: not JSON: {one_line(problem, 120)}") from None


def _table(path, longest):
    csv.field_size_limit(longest)
    with open(path, encoding="utf-8-sig", newline="") as file:
        delimiter = "\t" if path.lower().endswith(".tsv") else ","
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        number = 0
        try:
            names = next(rows, [])
            for number, row in enumerate(rows, 1):
                if not row:
                    continue
                where = f"{path}, record {number} (line {rows.line_num})"
                if len(row) != len(names):
                    raise Error(f"{where}: {len(row)} fields, expected {len(names)} as in the first line")
                yield Record(where, dict(zip(names, row)), sum(map(len, row)) + len(row))
        except csv.Error as problem:
            raise Error(
                f"{path}, record {number + 1}: not CSV: {problem}; a field may have {longest} characters "
                "(--max-record-bytes)"
            ) from None
        except UnicodeDecodeError as problem:
            raise Error(
                f"{path}, record {number + 1} or soon after: not UTF-8: {one_line(problem, 120)}; convert it, "
                "as with iconv -t UTF-8"
            ) from None


def _parquet(path, _):
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            size = max(1, os.path.getsize(path) // max(1, file.metadata.num_rows))
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for value in batch.to_pylist():
                    number += 1
                    yield Record(f"{path}, record {number}", value, size)
    except pyarrow.ArrowInvalid as problem:
        raise Error(f"{path}: not Parquet: {one_line(problem, 120)}") from None


def _documents(path, longest, separator):
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    number, kept, size = 1, "", 0
    with open(path, "rb") as file:
        while True:
            block = file.read(_BLOCK)
            try:
                kept += decoder.decode(block, final=not block)
            except UnicodeDecodeError as problem:
                where = f"{path}, document {number}" if separator else path
                raise Error(
                    f"{where}: not UTF-8: {one_line(problem, 120)}; convert it, as with iconv -t UTF-8"
                ) from None
            size += len(block)
            pieces = kept.split(separator) if separator else [kept]
            *whole, kept = pieces
            for text in whole:
                yield Record(f"{path}, document {number}", text, size)
                number, size = number + 1, 0
            if len(kept) > longest:
                advice = "" if separator else "; or part it into documents with --separator"
                raise Error(
                    f"{path}, document {number}: longer than {longest} bytes; raise --max-record-bytes if that "
                    f"is meant{advice}"
                )
            if not block:
                break
    if kept.strip() or number == 1:
        yield Record(f"{path}, document {number}" if separator else path, kept, size)
