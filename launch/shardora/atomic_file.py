"""Files that are there whole or not at all: written under another name beside their own, then renamed."""

import contextlib
import errno
import os
import tempfile

from shardora.errors import INPUT_OUTPUT, OUTPUT, Error, one_line


@contextlib.contextmanager
def atomic_file(path):
    """The name to write to; at the end of the block what is there has the name `path`."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
        os.close(descriptor)
        yield temporary
        os.chmod(temporary, _usual_mode())
        os.replace(temporary, path)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    finally:
        if temporary and os.path.exists(temporary):
            os.remove(temporary)


def write_text(path, text):
    with atomic_file(path) as name, open(name, "w", encoding="utf-8") as file:
        file.write(text)


def _usual_mode():
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _cannot_write(path, problem):
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    advice = "make room" if full else "expected a place to write to, choose another"
    reason = one_line(problem.strerror or problem)
    return Error(f"{path}: cannot be written: {reason}; {advice}", INPUT_OUTPUT if full else OUTPUT)
