"""One function over a stream of batches, in several processes: results in the order of the stream, and only as many
batches in flight as the processes need."""

import collections
import concurrent.futures
import ctypes
import multiprocessing
import signal
import sys

from shardora.errors import INTERNAL, Error

_work = None  # in a worker: what it was started with, inherited by fork


def _start(work):
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process reports it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no worker outlives a killed first process


def _do(batch):
    return _work(batch)


def ordered(work, batches, processes):
    if processes == 1:
        yield from map(work, batches)
        return
    context = multiprocessing.get_context("fork")  # the tokenizer is read once and shared
    executor = concurrent.futures.ProcessPoolExecutor(processes, context, _start, (work,))
    waiting, patient = collections.deque(), True
    try:
        for batch in batches:
            waiting.append(executor.submit(_do, batch))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except concurrent.futures.process.BrokenProcessPool:
        raise Error(
            "a worker process died, perhaps for want of memory; lower --processes or --max-record-bytes", INTERNAL
        ) from None
    except KeyboardInterrupt:
        # It may have come in the middle of the executor's own work, which then waits for workers that wait for it.
        for worker in multiprocessing.active_children():
            worker.kill()
        patient = False
        raise
    finally:
        executor.shutdown(wait=patient, cancel_futures=True)
