"""Shardora's dataset file: one safetensors file with tokens, offsets and loss_mask, written and read with the standard
library alone."""

import array
import json
import struct
import sys

from shardora.atomic_file import atomic_file
from shardora.errors import Error

FORMAT = "shardora.dataset.v1"
_CODES = {"I64": "q", "I32": "i", "U8": "B"}
_TYPES = {"offsets": "I64", "tokens": "I32", "loss_mask": "U8"}


def header(shapes, metadata):
    """The file's first bytes. `shapes`: name -> (type, count), in the order of the contents, widest first: aligned."""
    tensors, position = {"__metadata__": {"format": FORMAT, **metadata}}, 0
    for name, (dtype, count) in shapes.items():
        end = position + count * array.array(_CODES[dtype]).itemsize
        tensors[name] = {"dtype": dtype, "shape": [count], "data_offsets": [position, end]}
        position = end
    text = json.dumps(tensors, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path, sequences, metadata=None, **more):
    """Writes sequences, each a pair (tokens, mask) of equal length; mask is 1 where a token is a target. `more`: other
    tensors, name = (type, values)."""
    columns = {name: array.array(_CODES[dtype]) for name, dtype in _TYPES.items()}
    columns["offsets"].append(0)
    for tokens, mask in sequences:
        if len(tokens) != len(mask):
            raise ValueError(f"{path}: a sequence has {len(tokens)} tokens and a mask of {len(mask)}")
        if mask and mask[0]:
            raise ValueError(f"{path}: a sequence's first token cannot be a target, nothing predicts it")
        columns["tokens"].extend(tokens)
        columns["loss_mask"].extend(mask)
        columns["offsets"].append(len(columns["tokens"]))
    columns |= {name: array.array(_CODES[dtype], values) for name, (dtype, values) in more.items()}
    types = _TYPES | {name: dtype for name, (dtype, _) in more.items()}
    names = sorted(columns, key=lambda name: -columns[name].itemsize)
    with atomic_file(path) as name, open(name, "wb") as file:
        file.write(header({name: (types[name], len(columns[name])) for name in names}, metadata or {}))
        for name in names:
            file.write(_little_endian(columns[name]).tobytes())


def read(path):
    """The sequences of a dataset file, as pairs (tokens, mask)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        tensors = json.loads(file.read(length))
        body = file.read()
    if tensors.get("__metadata__", {}).get("format") != FORMAT:
        raise ValueError(f"{path} is not a dataset file: its metadata lacks format = {FORMAT}")
    columns = {}
    for name, dtype in _TYPES.items():
        if name == "loss_mask" and name not in tensors:
            continue
        if tensors[name]["dtype"] != dtype:
            raise ValueError(f"{path}: {name} is {tensors[name]['dtype']}, expected {dtype}")
        begin, end = tensors[name]["data_offsets"]
        columns[name] = _little_endian(array.array(_CODES[dtype], body[begin:end]))
    sequences = []
    for begin, end in zip(columns["offsets"], columns["offsets"][1:]):
        tokens = list(columns["tokens"][begin:end])
        absent = [0] + [1] * (len(tokens) - 1) if tokens else []
        mask = list(columns["loss_mask"][begin:end]) if "loss_mask" in columns else absent
        sequences.append((tokens, mask))
    return sequences


def read_metadata(path):
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            metadata = json.loads(file.read(min(length, 1 << 27)))["__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError):
        raise Error(f"{path}: not a dataset file, expected one that shardora-prepare wrote") from None
    if metadata.get("format") != FORMAT:
        raise Error(f"{path}: its metadata says format {metadata.get('format')}, expected {FORMAT}")
    return metadata


def _little_endian(values):
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
