"""Sends a run's metrics to Weights & Biases while they are written. Offline by default: what would be sent is kept in
the folder wandb/, for `wandb sync`.

    shardora-wandb DIR                 follows DIR/metrics.jsonl until the run ends
    shardora-wandb DIR --once          sends what is there
    shardora-wandb DIR --online        to the service; needs `wandb login`

A run that is resumed cuts what it logged past its checkpoint and logs it again. W&B takes nothing back, so a step that
was sent stays as it was; none is sent twice.
"""

import contextlib
import os
import time

from shardora.errors import INPUT_OUTPUT, USAGE, Arguments, Error
from shardora.report import metrics
from shardora.report.run_folder import read_config


def parse(arguments):
    parser = Arguments(prog="shardora-wandb", description=__doc__, allow_abbrev=False)
    parser.add_argument("dir", metavar="DIR", help="a run's output.dir")
    parser.add_argument("--project", default="shardora", help="of W&B (shardora)")
    parser.add_argument("--name", help="of the run there (the folder's)")
    parser.add_argument("--online", action="store_true", help="send to the service")
    parser.add_argument("--once", action="store_true", help="do not wait for more")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="look for new lines this often (5)")
    options = parser.parse_args(arguments)
    if not 0.01 <= options.every <= 3600:
        raise Error(f"--every is {options.every:g}, expected seconds from 0.01 to 3600", USAGE)
    options.name = options.name or os.path.basename(os.path.abspath(options.dir))
    return options


def flat(line, prefix=""):
    """Numbers of a line under names with slashes; what is not finite is left out."""
    for key, value in line.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        elif isinstance(value, list):
            yield from flat({str(k): inner for k, inner in enumerate(value)}, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and key != "step":
            yield prefix + key, value


def record(line):
    """What W&B gets of a line: an evaluation's numbers under its name, a step's under train."""
    prefix = "train/" if metrics.kind_of(line) == metrics.STEP else f"{line.get('eval_name') or 'eval'}/"
    return {"step": line["step"], **{prefix + name: value for name, value in flat(line)}}


class Follower:
    """Gives every line once to `send`, also where a resume has written it again."""

    def __init__(self, folder, send):
        self._path = os.path.join(folder, "metrics.jsonl")
        self._file, self._send, self._sent = metrics.GrowingFile(self._path), send, set()

    def poll(self):
        """How many were sent."""
        before = len(self._sent)
        try:
            lines = self._file.new_lines()
        except OSError as problem:
            raise Error(f"{self._path}: {problem.strerror}", INPUT_OUTPUT) from None
        for number, raw in lines:
            if raw.strip():
                where = f"{self._path}:{number}"
                self._take(metrics.parse(metrics.decode(raw, where), where))
        return len(self._sent) - before

    def close(self):
        self._file.close()

    def _take(self, line):
        key = (line["step"], metrics.kind_of(line), line.get("eval_name"))
        if key not in self._sent:
            self._sent.add(key)
            self._send(record(line))


def has_ended(folder):
    """A clean end empties run.lock and leaves exit.json."""
    lock = os.path.join(folder, "run.lock")
    return os.path.exists(os.path.join(folder, "exit.json")) and not (os.path.exists(lock) and os.path.getsize(lock))


def follow(options, send):
    with contextlib.closing(Follower(options.dir, send)) as follower:
        while True:
            ended = has_ended(options.dir)  # asked before the lines are read: none can come after it
            follower.poll()
            if ended or options.once:
                return
            time.sleep(options.every)


def start(options):
    """A run of W&B whose x axis is the step."""
    os.environ["WANDB_MODE"] = "online" if options.online else "offline"
    try:
        import wandb
    except ModuleNotFoundError:
        raise Error("Python package wandb is missing: run launch/install.sh --python wandb", USAGE) from None
    try:
        started = wandb.init(
            project=options.project,
            name=options.name,
            config=read_config(os.path.join(options.dir, "config.resolved.cfg")),
        )
    except wandb.Error as problem:
        raise Error(
            f"W&B does not start a run: {problem}; run `wandb login`, or leave out --online", INPUT_OUTPUT
        ) from None
    started.define_metric("step")
    started.define_metric("*", step_metric="step")
    return started


def main(arguments):
    options = parse(arguments)
    if not os.path.isdir(options.dir):
        raise Error(f"{options.dir}: is no folder, expected the output.dir of shardora train")
    if options.once and not os.path.exists(os.path.join(options.dir, "metrics.jsonl")):
        raise Error(f"{options.dir}: has no metrics.jsonl, expected the output.dir of shardora train")
    started = start(options)
    try:
        follow(options, started.log)
    finally:
        started.finish()
    return 0
