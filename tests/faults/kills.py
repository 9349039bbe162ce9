"""Chains of `kill -9` of a random rank at random times: loading, training, saving, evaluating, ending.

    python kills.py [--count 100] [--kills 10] [--seed 1] [--program build/release/shardora]

Every other run saves in the background. Each time mpirun must be back within 5 s (--within, for a machine that is
short of cores) with nothing left behind, the next start must find the lock free at once, and the run that is let go to
its end at last must have the uninterrupted run's bits. Open MPI 4's mpirun itself may stay for ever where a rank was
killed while it made itself known to it (it says PMIX ERROR: UNREACHABLE): then all ranks must be gone; that is counted
and told.
"""
import random
import shutil
import time

import common

SPLITS = [(2, 1), (2, 2), (4, 2)]  # ranks, tensor
STEPS_OF_A_KILL = 40  # a run is as long as its chain of kills needs


def words(options, split, output, background=False):
    return common.words(parallel__tensor=split[1], train__steps=STEPS_OF_A_KILL * options.kills, train__eval_every=5, train__save_best="true",
                        data__eval=common.HELD_OUT, output__dir=output, output__background_save=str(background).lower())


class Counts:
    def __init__(self):
        self.kills = self.early = self.stayed = 0
        self.slowest = 0.0
        self.steps = set()  # after which a start was killed


def kill_one(options, ranks, run_words, output, longest, chance, counts):
    """One start that is killed; False where it came to its end before."""
    with common.Job(options, run_words, ranks) as job:
        common.wait_until(lambda: job.rank_processes() or job.process.poll() is not None, 30)
        begun = time.monotonic()
        time.sleep(chance.uniform(0, longest))
        victims = job.rank_processes()
        victim = chance.choice(victims) if victims else None
        if not victims or not common.kill(victim):
            status = job.wait(600)
            common.expect(status == 0, output, f"a start that was let alone ended with {status}", job.said()[-2000:])
            return False
        killed = time.monotonic()
        status = job.wait(options.within)
        back = time.monotonic() - killed
        if status is None and "PMIX ERROR: UNREACHABLE" in job.said() and not job.rank_processes():
            counts.stayed += 1
            counts.kills += 1
            return True
        common.expect(status is not None, output, f"mpirun was not back after {options.within} s",
                      f"{victim} was killed after {killed - begun:.2f} s", f"left are {job.rank_processes()}",
                      common.exit_record(output), job.said()[-1000:])
        common.expect(status in (137, 0), output, f"mpirun ended with {status}, expected 137", job.said()[-2000:])
    common.expect(common.wait_until(lambda: not common.left_behind(options.program, output), 1), output,
                  "a rank outlived mpirun")
    counts.slowest = max(counts.slowest, back)
    counts.kills += 1
    counts.steps.add((common.checkpoints(output) or [0])[0])
    return status != 0  # all else was done when a rank was killed on its way out


class Straight:
    """The run that nothing disturbs: what it leaves, and the seconds it takes."""

    def __init__(self, options, split, output):
        begin = time.monotonic()
        common.must_run(options, words(options, split, output), split[0], limit=600)
        self.output, self.seconds = output, time.monotonic() - begin
        self.longest = 2 * self.seconds / (options.kills + 2)  # from the first process of the program to a kill


def chain(options, ranks, run_words, output, straight, chance, counts):
    for _ in range(options.kills):
        if not kill_one(options, ranks, run_words, output, straight.longest, chance, counts):
            counts.early += 1
            break
    common.must_run(options, run_words, ranks, limit=600)
    common.same_bits(output, straight.output)


def main(options, scratch):
    chance, counts, straight = random.Random(options.seed), Counts(), {}
    for number in range(options.count):
        split = SPLITS[number % len(SPLITS)]
        if split not in straight:
            straight[split] = Straight(options, split, scratch / f"straight-{split[0]}x{split[1]}")
        output = scratch / f"run-{number}"
        chain(options, split[0], words(options, split, output, number % 2 == 1), output, straight[split], chance, counts)
        shutil.rmtree(output)
        print(f"kills: {number + 1} runs, {counts.kills} kills, every end bitwise the uninterrupted run's; "
              f"{counts.early} runs ended before their last kill; mpirun back after at most {counts.slowest:.2f} s, "
              f"but for {counts.stayed} kills while a rank made itself known to it; kills after {len(counts.steps)} "
              f"different steps; seed {options.seed}", flush=True)


parser = common.arguments(__doc__, 100)
parser.add_argument("--kills", type=int, default=10, help="in a chain; default 10")
parser.add_argument("--within", type=float, default=common.OUT_IN_SECONDS, help="seconds until mpirun must be back")
common.campaign(main, parser)
