"""A file that is being written, read as it grows: whole lines only, and anew from its start where a resumed run has
cut it (in place, or by another file of the same name)."""

import os


class GrowingFile:
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
