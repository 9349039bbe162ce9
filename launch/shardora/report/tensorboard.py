"""The run as TensorBoard's event files: every number of every line, at its step, none left out."""

import glob
import os
import re
import tempfile

import numpy as np

from shardora.errors import OUTPUT, Error
from shardora.report import summary


def _tag(name):
    """TensorBoard groups by what stands before the slash."""
    return name.replace(".", "/") if "." in name else f"train/{name}"


def _times(run):
    """A clock time of each step: the metrics know durations only, so from the first start on, or up to now."""
    passed = np.cumsum(summary.training_seconds(run))
    begin = run.logs.starts[0].begin if run.logs.starts else os.path.getmtime(run.folder) - passed[-1]
    return begin + passed


def _evaluation_tag(name, what):
    return f"eval_{re.sub('[^A-Za-z0-9_.-]', '_', name)}/{what}"


def _fill(add, run):
    """add(step, time, {tag: value}): one event for all that is known at a step costs a tenth of one for each."""
    times = _times(run)
    tags = {_tag(name): values for name, values in run.columns.items() if name != "step"}
    for k, (step, time) in enumerate(zip(run.step, times)):
        add(int(step), time, {tag: values[k] for tag, values in tags.items()})
    for name, one in run.evaluations.items():
        for step, loss, perplexity in zip(one.step, one.loss, one.perplexity):
            add(
                step,
                np.interp(step, run.step, times),
                {_evaluation_tag(name, "loss"): loss, _evaluation_tag(name, "perplexity"): perplexity},
            )


def _write_events(run, folder):
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text
    from tensorboardX.writer import FileWriter

    writer = FileWriter(folder, max_queue=10000, flush_secs=3600)

    def add(step, time, values):
        finite = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if np.isfinite(value)]
        writer.add_summary(Summary(value=finite), step, walltime=time)

    _fill(add, run)
    configuration = "\n".join(f"    {key} = {value}" for key, value in run.config.items())
    writer.add_summary(text("configuration", configuration), int(run.step[-1]))
    writer.close()


def write(run, name, folder):
    """Into folder/name, in place of the event files of an earlier call."""
    target = os.path.join(folder, name)
    try:
        os.makedirs(target, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as temporary:
            _write_events(run, temporary)
            for old in glob.glob(os.path.join(glob.escape(target), "events.out.tfevents.*")):
                os.remove(old)
            for new in os.listdir(temporary):
                os.replace(os.path.join(temporary, new), os.path.join(target, new))
    except OSError as problem:
        raise Error(
            f"{target}: event files cannot be written: {problem.strerror}; choose another folder with --tensorboard",
            OUTPUT,
        ) from None
