"""Shardora's dataset file: one safetensors file with tokens, offsets and loss_mask, written and read with the
standard library alone."""

import array
import json
import struct
import sys

_TYPES = {"tokens": ("I32", "i", 4), "offsets": ("I64", "q", 8), "loss_mask": ("U8", "B", 1)}


def write(path, sequences, metadata=None):
    """Writes sequences, each a pair (tokens, mask) of equal length; mask is 1 where a token is a target."""
    columns = {"tokens": array.array("i"), "offsets": array.array("q", [0]), "loss_mask": array.array("B")}
    for tokens, mask in sequences:
        if len(tokens) != len(mask):
            raise ValueError(f"{path}: a sequence has {len(tokens)} tokens and a mask of {len(mask)}")
        if mask and mask[0]:
            raise ValueError(f"{path}: a sequence's first token cannot be a target, nothing predicts it")
        columns["tokens"].extend(tokens)
        columns["loss_mask"].extend(mask)
        columns["offsets"].append(len(columns["tokens"]))

    header = {"__metadata__": {"format": "shardora.dataset.v1", **(metadata or {})}}
    position = 0
    for name in ("offsets", "tokens", "loss_mask"):  # widest first keeps every tensor aligned
        values = columns[name]
        length = len(values) * _TYPES[name][2]
        header[name] = {"dtype": _TYPES[name][0], "shape": [len(values)], "data_offsets": [position, position + length]}
        position += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in ("offsets", "tokens", "loss_mask"):
            file.write(_little_endian(columns[name]).tobytes())


def read(path):
    """The sequences of a dataset file, as pairs (tokens, mask)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    if header.get("__metadata__", {}).get("format") != "shardora.dataset.v1":
        raise ValueError(f"{path} is not a dataset file: its metadata lacks format = shardora.dataset.v1")
    columns = {}
    for name, (dtype, code, _) in _TYPES.items():
        if name == "loss_mask" and name not in header:
            continue
        if header[name]["dtype"] != dtype:
            raise ValueError(f"{path}: {name} is {header[name]['dtype']}, expected {dtype}")
        begin, end = header[name]["data_offsets"]
        columns[name] = _little_endian(array.array(code, body[begin:end]))
    sequences = []
    for begin, end in zip(columns["offsets"], columns["offsets"][1:]):
        tokens = list(columns["tokens"][begin:end])
        absent = [0] + [1] * (len(tokens) - 1) if tokens else []
        mask = list(columns["loss_mask"][begin:end]) if "loss_mask" in columns else absent
        sequences.append((tokens, mask))
    return sequences


def _little_endian(values):
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
