"""Files as streams of records: JSON arrays, JSON Lines, CSV, Parquet and plain text, compressed or not, never more than
one record at a time in memory, and none longer than a limit."""

import bz2
import codecs
import contextlib
import csv
import dataclasses
import gzip
import io
import json
import lzma
import os
import re
import zlib

from shardora.errors import Error, one_line

LINES, ARRAY, TABLE, PARQUET, TEXT = "JSON Lines", "JSON", "CSV", "Parquet", "text"
_KINDS = {".json": LINES, ".jsonl": LINES, ".ndjson": LINES, ".csv": TABLE, ".tsv": TABLE, ".parquet": PARQUET}
_BLOCK = 1 << 16
_BLANKS = re.compile(r"[ \t\r\n]*")
_COMPRESSIONS = (  # first bytes, name, what reads it
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ\0", "xz", lzma.open),
    (b"\x28\xb5\x2f\xfd", "zstd", None),
    (b"PK\3\4", "zip", None),
    (b"\x04\x22\x4d\x18", "lz4", None),
)
_COMPRESSED_ENDS = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4")


@dataclasses.dataclass
class Record:
    where: str  # for messages: file, and line or record
    value: object  # bytes: a line of JSON; str: a document; else what JSON, CSV or Parquet hold
    size: int  # bytes of the file


def _extension(path):
    """The end of the name, without that of a compression."""
    root, extension = os.path.splitext(str(path).lower())
    return os.path.splitext(root)[1] if extension in _COMPRESSED_ENDS else extension


def kind_of(path):
    """By the name: JSON of any form is LINES."""
    return _KINDS.get(_extension(path), TEXT)


@contextlib.contextmanager
def _open(path):
    """The file's content, decompressed according to its first bytes, not its name."""
    with open(path, "rb") as file:
        start = file.peek(6)
        name, decompress = next((rest for mark, *rest in _COMPRESSIONS if start.startswith(mark)), (None, None))
        if name and not decompress:
            raise Error(f"{path}: compressed with {name}, which is not read here; unpack it")
        try:
            yield io.BufferedReader(decompress(file), _BLOCK) if name else file
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as problem:
            if not name or getattr(problem, "errno", None) is not None:  # the system's
                raise
            raise Error(f"{path}: not whole {name}: {one_line(problem)}; copy it again") from None


def records(path, longest, separator=None):
    """All records of a file. `longest`: bytes that one record may have; `separator`: what parts documents in text."""
    if os.path.isdir(path):
        raise Error(f"{path}: is a folder, expected a file")
    if os.path.isfile(path) and os.path.getsize(path) == 0:  # a pipe may have no size
        raise Error(f"{path}: the file is empty, expected at least one record")
    readers = {LINES: _lines, ARRAY: _array, TABLE: _table, PARQUET: _parquet}
    count = 0
    with _open(path) as file:
        kind, start = kind_of(path), file.peek(_BLOCK)
        if kind == LINES and start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
            kind = ARRAY
        found = _documents(file, path, longest, separator) if kind == TEXT else readers[kind](file, path, longest)
        for count, record in enumerate(found, 1):
            yield record
    if count == 0:
        raise Error(f"{path}: no record was found, expected at least one")


def _too_long(where, longest):
    return Error(f"{where}: longer than {longest} bytes; raise --max-record-bytes if that is meant")


def _lines(file, path, longest):
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


def _array(file, path, longest):
    """Each element is decoded as soon as enough of the file is there."""
    decode, utf8 = json.JSONDecoder().raw_decode, codecs.getincrementaldecoder("utf-8-sig")()
    text, at, number = "", 0, 0

    def read_more():
        """Puts as much again behind what is not used yet. False at the file's end."""
        nonlocal text, at
        block = file.read(max(_BLOCK, len(text) - at))
        try:
            text, at = text[at:] + utf8.decode(block, final=not block), 0
        except UnicodeDecodeError as problem:
            where = f"{path}, record {number + 1} or soon after"
            raise Error(f"{where}: not UTF-8: {one_line(problem, 120)}; convert it, as with iconv -t UTF-8") from None
        return bool(block)

    def next_character():
        """The next one that is not blank; empty at the file's end."""
        nonlocal at
        while True:
            at = _BLANKS.match(text, at).end()
            if at < len(text) or not read_more():
                return text[at : at + 1]

    def element():
        while next_character():
            with contextlib.suppress(json.JSONDecodeError):
                value, end = decode(text, at)
                if end < len(text) and end - at <= longest:  # at the text's end a number might go on
                    return value, end
            if len(text) - at > longest:
                raise _too_long(f"{path}, record {number + 1}", longest)
            if not read_more():
                break
        return decode(text, at)  # the file's end: whole, or what is wrong

    try:
        next_character()
        at += 1  # the opening bracket
        while (mark := next_character()) != "]":
            if number and mark != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at += bool(number)
            value, end = element()
            yield Record(f"{path}, record {number + 1}", value, end - at)
            at, number = end, number + 1
        at += 1
        if next_character():
            raise json.JSONDecodeError("Extra data", text, at)
    except json.JSONDecodeError as problem:
        raise Error(f"{path}, record {number + 1}: not JSON: {problem.msg}") from None
    except RecursionError:
        raise Error(f"{path}, record {number + 1}: not JSON that can be read: nested too deeply") from None


def _table(file, path, longest):
    csv.field_size_limit(longest)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    rows = csv.reader(text, delimiter="\t" if _extension(path) == ".tsv" else ",", strict=True)
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
            f"{path}, record {number + 1}: not CSV: {problem}; a field may have {longest} characters (--max-record-bytes)"
        ) from None
    except UnicodeDecodeError as problem:
        where = f"{path}, record {number + 1} or soon after"
        raise Error(f"{where}: not UTF-8: {one_line(problem, 120)}; convert it, as with iconv -t UTF-8") from None
    finally:
        text.detach()  # the file is its opener's to close


def _parquet(_, path, longest):
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            size = max(1, os.path.getsize(path) // max(1, file.metadata.num_rows))
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for value in batch.to_pylist():
                    number += 1
                    yield Record(f"{path}, record {number}", _without_nulls(value), size)
    except pyarrow.ArrowInvalid as problem:
        raise Error(f"{path}: not Parquet: {one_line(problem, 120)}") from None


def _without_nulls(value):
    """Every row and every struct of a column has the keys of all: one that its record lacked is null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _documents(file, path, longest, separator):
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    number, kept, size, block = 1, "", 0, b"."
    while block:
        block = file.read(_BLOCK)
        try:
            kept += decoder.decode(block, final=not block)
        except UnicodeDecodeError as problem:
            where = f"{path}, document {number}" if separator else path
            raise Error(f"{where}: not UTF-8: {one_line(problem, 120)}; convert it, as with iconv -t UTF-8") from None
        size += len(block)
        *whole, kept = kept.split(separator) if separator else [kept]
        for text in whole:
            yield Record(f"{path}, document {number}", text, size)
            number, size = number + 1, 0
        if len(kept) > longest:
            advice = "" if separator else "; or part it into documents with --separator"
            raise Error(
                f"{path}, document {number}: longer than {longest} bytes; raise --max-record-bytes if that is meant{advice}"
            )
    if kept.strip() or number == 1:
        yield Record(f"{path}, document {number}" if separator else path, kept, size)
