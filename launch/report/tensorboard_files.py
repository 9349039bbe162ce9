"""The run as TensorBoard's event files: every number of every line, at its step, none left out."""

import glob
import os
import re
import tempfile

import numpy as np

import verdict
from failure import OUTPUT, Failure, missing


def _tag(name):
    """TensorBoard groups by what stands before the slash."""
    return name.replace(".", "/") if "." in name else f"train/{name}"


def _times(run):
    """A clock time of each step: the metrics know durations only, so from the first start on, or up to now."""
    passed = np.cumsum(verdict.training_seconds(run))
    begin = run.logs.starts[0].begin if run.logs.starts else os.path.getmtime(run.folder) - passed[-1]
    return begin + passed


def _fill(writer, run):
    times = _times(run)
    for name, values in run.columns.items():
        if name == "step":
            continue
        for step, value, time in zip(run.step, values, times):
            if np.isfinite(value):
                writer.add_scalar(_tag(name), value, int(step), walltime=time)
    for name, one in run.evaluations.items():
        for step, loss, perplexity in zip(one.step, one.loss, one.perplexity):
            time = np.interp(step, run.step, times)
            for what, value in (("loss", loss), ("perplexity", perplexity)):
                if np.isfinite(value):
                    writer.add_scalar(f"eval_{re.sub('[^A-Za-z0-9_.-]', '_', name)}/{what}", value, step, walltime=time)
    text = "\n".join(f"    {key} = {value}" for key, value in run.config.items())
    writer.add_text("configuration", text, int(run.step[-1]), walltime=times[-1])


def write(run, name, folder):
    """Into folder/name, in place of the event files of an earlier call."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as problem:
        raise missing(problem) from None
    target = os.path.join(folder, name)
    try:
        os.makedirs(target, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as temporary:
            with SummaryWriter(temporary, flush_secs=3600) as writer:
                _fill(writer, run)
            for old in glob.glob(os.path.join(glob.escape(target), "events.out.tfevents.*")):
                os.remove(old)
            for new in os.listdir(temporary):
                os.replace(os.path.join(temporary, new), os.path.join(target, new))
    except OSError as problem:
        raise Failure(OUTPUT, f"{target}: event files cannot be written: {problem.strerror}; choose another folder "
                              "with --tensorboard") from None
    return target
