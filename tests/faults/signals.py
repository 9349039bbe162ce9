"""Signals at random moments: SIGUSR1, SIGTERM or SIGINT to one rank, to all or to launch/local.sh, SIGUSR1 to mpirun;
once or twice; while the run is loaded, trains, evaluates and saves.

    python signals.py [--count 100] [--seed 1] [--program build/release/shardora]

Each time the run must have saved its last step and end with 75, exit.json must say so, and the run that is then let go
to its end must have the uninterrupted run's bits. mpirun itself kills its ranks on SIGTERM and SIGINT: then the last
checkpoint must do.
"""
import collections
import json
import pathlib
import random
import signal
import subprocess
import tempfile
import time

import common

USR1, TERM, INT = signal.SIGUSR1, signal.SIGTERM, signal.SIGINT
# Whom, and with what.
TARGETS = [("one rank", (USR1, TERM, INT)), ("all ranks", (USR1, TERM, INT)), ("mpirun", (USR1,)),
           ("local.sh", (USR1, TERM, INT)), ("mpirun, deadly", (TERM, INT))]
STEPS, EVAL_EVERY, SAVE_EVERY = 100, 8, 30
MOMENTS = ("evaluation", "load", "any", "save")
LIMIT_SECONDS = 300  # of a machine with other work


def words(output):
    return common.words(train__steps=STEPS, train__eval_every=EVAL_EVERY, data__eval=common.HELD_OUT,
                        train__save_best="true", output__checkpoint_every=SAVE_EVERY, output__dir=output)


class ScriptJob(common.Job):
    """launch/local.sh, its mpirun and their ranks."""

    def __init__(self, options, program_words):
        self.program, self.ranks = options.program.resolve(), 2
        self.file = tempfile.TemporaryFile("w+", errors="replace")
        command = [common.ROOT / "launch" / "local.sh", "-n", "2", "--oversubscribe", "--shardora", self.program]
        self.process = subprocess.Popen([*command, *program_words], stdout=self.file, stderr=subprocess.STDOUT,
                                        start_new_session=True, env=common.environment())


def catches(process, number):
    """Whether the process has a handler for the signal; before that it would just die."""
    try:
        text = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in text.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def ranks_are_ready(job):
    ranks = job.rank_processes()
    return len(ranks) == 2 and all(catches(rank, TERM) for rank in ranks)


def last_line(output):
    """Of metrics.jsonl, {} where there is none yet."""
    try:
        return json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return {}


def is_evaluating(output):
    """A step that is to be evaluated has been logged, its evaluation has not."""
    last = last_line(output)
    return "loss" in last and last["step"] % EVAL_EVERY == 0


def is_saving(output):
    return any((output / "checkpoints").glob("*.tmp*"))


def wait_for_moment(moment, job, output, script, chance, duration):
    ended = lambda: job.process.poll() is not None  # noqa: E731
    if not script or moment != "any":  # the script takes a signal from its first moment on
        common.wait_until(lambda: ranks_are_ready(job) or ended(), LIMIT_SECONDS, 0.001)
    if moment == "load":
        common.wait_until(lambda: (output / "logs" / "rank-0.log").exists() or ended(), LIMIT_SECONDS, 0.0005)
        return
    if moment == "any":
        time.sleep(chance.uniform(0.05 if script else 0, 0.8 * duration))
        return
    after = chance.randrange(STEPS // 3)  # with steps left to be spared
    common.wait_until(lambda: last_line(output).get("step", 0) >= after or ended(), LIMIT_SECONDS, 0.0005)
    if moment == "evaluation":
        common.wait_until(lambda: is_evaluating(output) or ended(), LIMIT_SECONDS, 0.0005)
    elif moment == "save":
        common.wait_until(lambda: is_saving(output) or ended(), LIMIT_SECONDS, 0.0005)


def send(job, target, number, chance):
    """Whether there was anybody to take it."""
    ranks = job.rank_processes()
    if target == "one rank":
        return bool(ranks) and common.kill(chance.choice(ranks), number)
    if target == "all ranks":
        return all([common.kill(rank, number) for rank in ranks]) and bool(ranks)
    return job.process.poll() is None and common.kill(job.process.pid, number)


def expect_saved(output, status, step, what, said):
    """75 with everything up to exit.json's step saved; or the run was near its end already when the signal came."""
    common.expect(status == common.STOPPED or (status == common.DONE and step > STEPS / 2), what,
                  f"ended with {status}", f"expected 75, for the signal came at step {step}", said[-2000:])
    record = common.exit_record(output)
    if not record:  # only a script's signal can come before there is a folder
        common.expect("local.sh" in what and not common.checkpoints(output), what, "exit.json is missing")
        return
    common.expect(record["status"] == status, what, f"exit.json says {record}", f"the status was {status}")
    if status == common.STOPPED:
        common.expect(record["reason"].split(":")[0] == "signal", what, f"exit.json says {record}", "expected a signal")
        saved = (common.checkpoints(output) or [0])[0]
        common.expect(record["step"] == saved, what, f"step {saved} is saved", f"exit.json says {record}")


def one(options, output, target, moment, chance, duration):
    """One start with one signal, or two; returns its status."""
    name, numbers = target
    number, twice = chance.choice(numbers), chance.random() < 0.3
    what = f"{signal.Signals(number).name} to {name} at {moment}{', twice' if twice else ''} ({output})"
    job = ScriptJob(options, words(output)) if name == "local.sh" else common.Job(options, words(output))
    with job:
        wait_for_moment(moment, job, output, name == "local.sh", chance, duration)
        step = last_line(output).get("step", 0)
        if send(job, name, number, chance) and twice:
            time.sleep(chance.uniform(0, 0.05))
            send(job, name, number, chance)
        status = job.wait(LIMIT_SECONDS)
        common.expect(status is not None, what, f"did not end within {LIMIT_SECONDS} s", job.said()[-2000:])
        if name != "mpirun, deadly":
            expect_saved(output, status, step, what, job.said())
    common.expect(common.wait_until(lambda: not common.left_behind(options.program, output), 2), what, "a rank is left")
    return status


def main(options, scratch):
    signal.signal(INT, signal.default_int_handler)  # what is ignored here would be ignored by what we start
    straight = scratch / "straight"
    begin = time.monotonic()
    common.must_run(options, words(straight), limit=LIMIT_SECONDS)
    duration = time.monotonic() - begin
    chance, counts = random.Random(options.seed), collections.Counter()
    for number in range(options.count):
        target, moment = TARGETS[number % len(TARGETS)], MOMENTS[number % len(MOMENTS)]  # 5 and 4: every pair in 20
        output = scratch / f"run-{number}"
        status = one(options, output, target, moment, chance, duration)
        common.must_run(options, words(output), limit=LIMIT_SECONDS)
        common.same_bits(output, straight)
        counts["at its end already" if status == 0 else "killed" if target[0] == "mpirun, deadly" else "saved"] += 1
        counts[f"at {moment}"] += 1
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"signals: {options.count} runs, every end bitwise the uninterrupted run's; {said}; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 100))
