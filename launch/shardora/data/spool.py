"""Dataset files larger than memory: sequences are collected in files beside the output, and the dataset file is put
together from them at the end, under its name only when it is whole."""

import contextlib
import os
import shutil
import tempfile

import numpy

from shardora import dataset_file
from shardora.errors import OUTPUT, Error, one_line

_BLOCK = 1 << 22


class SpoolFolder:
    """A folder beside the output and the spools in it, gone at the end whatever happens."""

    def __init__(self, output):
        self._parent = os.path.dirname(os.path.abspath(output))
        self._spools = []
        self.folder = None

    def spool(self):
        self._spools.append(Spool(os.path.join(self.folder, str(len(self._spools)))))
        return self._spools[-1]

    def __enter__(self):
        try:
            self.folder = tempfile.mkdtemp(prefix=".prepare-", dir=self._parent)
        except OSError as problem:
            raise Error(f"{self._parent}: cannot write here: {one_line(problem.strerror)}", OUTPUT) from None
        return self

    def __exit__(self, *_):
        for spool in self._spools:
            spool.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Spool:
    """The sequences of one dataset file, until it is written."""

    def __init__(self, path):
        self._path = path
        self._files = {
            part: open(f"{path}.{part}", "w+b", buffering=_BLOCK)
            for part in ("tokens", "loss_mask", "lengths", "hashes")
        }
        self.sequences = self.tokens = self.targets = 0

    def close(self):
        with contextlib.suppress(OSError):  # of what was not written to a full disk, which has been without_prompt
            for file in self._files.values():
                file.close()

    def add(self, tokens, mask, lengths, hashes):
        for part, values, dtype in (
            ("tokens", tokens, "<i4"),
            ("loss_mask", mask, "u1"),
            ("lengths", lengths, "<i8"),
            ("hashes", hashes, "<u8"),
        ):
            self._files[part].write(values.astype(dtype, copy=False).tobytes())
        self.sequences += len(lengths)
        self.tokens += len(tokens)
        self.targets += int(mask.sum(dtype=numpy.int64))

    def read(self, part, dtype):
        self._files[part].flush()
        return numpy.fromfile(f"{self._path}.{part}", dtype)

    def duplicates(self):
        """True for every sequence that was there before. 16 bytes of memory a sequence."""
        hashes = self.read("hashes", "<u8").reshape(-1, 2)
        order = numpy.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: the first of equals stays first
        same = (hashes[order[1:]] == hashes[order[:-1]]).all(axis=1)
        found = numpy.zeros(len(hashes), bool)
        found[order[1:][same]] = True
        return found

    def first(self):
        """(tokens, mask) of the first sequence."""
        length = int(self.read("lengths", "<i8")[0])
        parts = []
        for part, dtype in (("tokens", "<i4"), ("loss_mask", "u1")):
            self._files[part].flush()
            parts.append(numpy.fromfile(f"{self._path}.{part}", dtype, length).tolist())
        return parts

    def without(self, unwanted, rest):
        """The other sequences go into the spool `rest`, which is returned."""
        lengths, hashes = self.read("lengths", "<i8"), self.read("hashes", "<u8").reshape(-1, 2)
        files = [self._files["tokens"], self._files["loss_mask"]]
        for file in files:
            file.seek(0)
        for length, hashed, drop in zip(lengths, hashes, unwanted):
            tokens, mask = (
                numpy.frombuffer(file.read(int(length) * size), dtype)
                for file, size, dtype in zip(files, (4, 1), ("<i4", "u1"))
            )
            if not drop:
                rest.add(tokens, mask, numpy.array([length]), hashed)
        return rest

    def whole(self, metadata):
        """Writes the dataset file beside the spool and returns its path."""
        whole = f"{self._path}.safetensors"
        with open(whole, "wb") as file:
            shapes = {
                "offsets": ("I64", self.sequences + 1),
                "tokens": ("I32", self.tokens),
                "loss_mask": ("U8", self.tokens),
            }
            file.write(dataset_file.header(shapes, metadata))
            lengths = self.read("lengths", "<i8")
            file.write(b"\0" * 8)
            numpy.cumsum(lengths, dtype=numpy.int64).astype("<i8").tofile(file)
            for part in ("tokens", "loss_mask"):
                self._files[part].flush()
                self._files[part].seek(0)
                shutil.copyfileobj(self._files[part], file, _BLOCK)
            file.flush()
            os.fsync(file.fileno())
        return whole


def place(made):
    """Gives files their names. `made`: (path, name) of each, written whole."""
    for path, name in made:
        try:
            os.replace(path, name)
        except OSError as problem:
            raise Error(f"{name}: cannot be written: {one_line(problem.strerror)}", OUTPUT) from None
