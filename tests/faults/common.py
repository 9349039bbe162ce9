"""What the campaigns of faults share: a tiny training run of the real program under mpirun, waits with limits, the
processes of its ranks, and the comparison of what two runs leave.

Every campaign takes --count, --seed, --program and --mpiexec, says its counts on the last line, and ends with 0, with 1
where an expectation fails (one line: NAME: what, where, what was expected, what to do), or with 77 (skipped, with the
reason).
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "parity" / "golden"
MODEL, DATA, HELD_OUT = GOLDEN / "models" / "qwen2", GOLDEN / "data" / "101-train.safetensors", \
    GOLDEN / "data" / "101-held-out.safetensors"
SKIPPED = 77
DONE, USAGE, BAD_INPUT, MISMATCH, BUSY, IO, STOPPED, CORRUPT = 0, 64, 65, 66, 73, 74, 75, 78
OUT_IN_SECONDS = 5  # after a rank has died

# A run of any length is the same run up to a step only where its schedule does not depend on the number of steps.
KEYS = {"model.path": MODEL, "data.train": DATA, "adapter.rank": 4, "adapter.dropout": 0.2, "train.global_batch": 6,
        "train.learning_rate": "1e-2", "train.seed": 3, "train.steps": 9, "train.schedule": "constant",
        "output.checkpoint_every": 1, "parallel.threads": 1}


class Failed(Exception):
    """An expectation that was not met: its text is the campaign's last line."""


def expect(holds, *what):
    if not holds:
        raise Failed(", ".join(str(part) for part in what))


def arguments(description, count):
    """The parser of a campaign, with what all of them take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count, help=f"how many runs or faults; default {count}")
    parser.add_argument("--seed", type=int, default=1, help="of everything random; default 1")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "release" / "shardora")
    parser.add_argument("--mpiexec", default=shutil.which("mpirun") or "mpirun")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder, and say where it is")
    return parser


def campaign(main, parser):
    """Runs main(options, scratch) in a folder of its own; ends the process with the campaign's status."""
    options, name = parser.parse_args(), pathlib.Path(sys.argv[0]).name
    if not options.program.exists():
        sys.exit(f"{name}: {options.program} is missing; build it, or give --program PATH")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        main(options, scratch)
        status = 0
    except Failed as failure:
        print(f"{name}: {failure} (seed {options.seed})", file=sys.stderr)
        status = 1
    if options.keep:
        print(f"{name}: left {scratch}", file=sys.stderr)
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(status)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def words(command="train", **keys):
    """Command-line words; a key's dots are written as __, and None leaves a key out."""
    chosen = dict(KEYS) if command == "train" else {}
    chosen.update({key.replace("__", "."): value for key, value in keys.items()})
    return [command] + [f"--{key}={value}" for key, value in chosen.items() if value is not None]


def environment(**more):
    """Open MPI as root, on a machine of fewer cores than ranks."""
    return dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1",
                OMP_WAIT_POLICY="passive", OMPI_MCA_mpi_yield_when_idle="1",
                OMPI_MCA_orte_execute_quiet="1", **more)  # Open MPI 4's -q, which 5 would refuse


class Job:
    """mpirun and its ranks, in a session of their own; what they say is in `said`. `before`: words in front of the
    program, such as strace and its options, on every rank."""

    def __init__(self, options, program_words, ranks=2, before=(), env=None, mpi_words=()):
        self.program, self.ranks = options.program.resolve(), ranks
        self.file = tempfile.TemporaryFile("w+", errors="replace")
        command = [options.mpiexec, "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *mpi_words,
                   *before, str(self.program), *program_words]
        self.process = subprocess.Popen(command, stdout=self.file, stderr=subprocess.STDOUT, start_new_session=True,
                                        env=env or environment())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing of the job outlives the campaign, whatever became of it: the program's processes, then mpirun."""
        for process in self.rank_processes():
            kill(process)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.file.close()

    def wait(self, limit):
        """The exit status, or None where the job is still there after `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return None

    def said(self):
        self.file.seek(0)
        return self.file.read()

    def rank_processes(self):
        """The program's processes below this mpirun; a rank that has ended is not among them."""
        parents, found = {}, []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and (parent := parent_of(entry)) is not None:
                parents[int(entry.name)] = parent
        for process in parents:
            if runs(process, self.program) and below(process, self.process.pid, parents):
                found.append(process)
        return sorted(found)

    def process_of(self, rank):
        """The process of one rank, or None where it has ended or has not begun."""
        for process in self.rank_processes():
            try:
                texts = pathlib.Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"OMPI_COMM_WORLD_RANK={rank}".encode() in texts:
                return process
        return None


def parent_of(entry):
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def runs(process, program):
    try:
        return os.readlink(f"/proc/{process}/exe") == str(program)
    except OSError:
        return False


def below(process, ancestor, parents):
    while process in parents and process != ancestor:
        process = parents[process]
    return process == ancestor


def left_behind(program, folder):
    """Processes of the program that were given this folder, whoever their parent is now."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or not runs(int(entry.name), program.resolve()):
            continue
        try:
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill(process, number=signal.SIGKILL):
    """Whether there was such a process."""
    try:
        os.kill(process, number)
        return True
    except ProcessLookupError:
        return False


def wait_until(holds, limit, every=0.005):
    """Whether it has come to hold within `limit` seconds."""
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def run(options, program_words, ranks=2, limit=120, **more):
    """A whole job: its status (None: still there after `limit` seconds) and what it said."""
    with Job(options, program_words, ranks, **more) as job:
        return job.wait(limit), job.said()


def must_run(options, program_words, ranks=2, limit=120, status=DONE, **more):
    got, said = run(options, program_words, ranks, limit, **more)
    expect(got == status, f"{ranks} ranks ended with {got}", f"expected {status}", "they said: " + said[-2000:])
    return said


def exit_record(folder):
    """exit.json, or {} where it is missing."""
    try:
        return json.loads((folder / "exit.json").read_text())
    except FileNotFoundError:
        return {}


def metrics(folder, keys=("step", "loss", "eval_loss", "gradient_norm", "learning_rate", "tokens")):
    """What metrics.jsonl says of every step and evaluation, but for what is measured by the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[line.get(key) for key in keys] for line in lines]


def checkpoints(folder):
    """Steps that have a folder, newest first; whether they are whole is the program's to say."""
    names = [path.name[5:] for path in (folder / "checkpoints").glob("step-*")] if folder.exists() else []
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def same_bits(left, right):
    """Files of a finished run that must not differ: the adapter, and the last checkpoint with moments and counters."""
    files = ["adapter/adapter_model.safetensors", "adapter/adapter_config.json"]
    steps = checkpoints(right)
    if steps:
        files.append(f"checkpoints/step-{steps[0]}/state.safetensors")
    for name in files:
        expect((left / name).exists(), f"{left / name} is missing", "the uninterrupted run has it")
        expect((left / name).read_bytes() == (right / name).read_bytes(), f"{left / name} differs from {right / name}",
               "every bit was expected to be the uninterrupted run's")
    expect(metrics(left) == metrics(right), f"the metrics in {left} differ from {right}'s")
