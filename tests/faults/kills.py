"""Chains of `kill -9` of a random rank at random times: loading, training, saving, evaluating, ending.

    python kills.py [--count 100] [--kills 10] [--seed 1] [--program build/release/shardora]

Each time mpirun must be back within 5 s with nothing left behind, the next start must find the lock free at once, and
the run that is let go to its end at last must have the uninterrupted run's bits.
"""
import random
import time

import common

SPLITS = [(2, 1), (2, 2), (4, 2)]  # ranks, tensor
STEPS = 60
LONGEST_SECONDS = 1.2  # from the first process of the program to the kill: about what a whole run takes


def words(split, output):
    return common.words(parallel__tensor=split[1], train__steps=STEPS, train__eval_every=7, data__eval=common.HELD_OUT,
                        train__save_best="true", output__dir=output)


class Counts:
    def __init__(self):
        self.kills = self.early = 0
        self.slowest = 0.0
        self.steps = set()  # after which a start was killed


def kill_one(options, split, output, chance, counts):
    """One start that is killed; False where it came to its end before."""
    with common.Job(options, words(split, output), split[0]) as job:
        common.wait_until(lambda: job.rank_processes() or job.process.poll() is not None, 30)
        time.sleep(chance.uniform(0, LONGEST_SECONDS))
        victims = job.rank_processes()
        if not victims or not common.kill(chance.choice(victims)):
            status = job.wait(30)
            common.expect(status == 0, output, f"a start that was let alone ended with {status}", job.said()[-2000:])
            return False
        killed = time.monotonic()
        status = job.wait(4 * common.OUT_IN_SECONDS)
        seconds = time.monotonic() - killed
        common.expect(status is not None and seconds < common.OUT_IN_SECONDS, output,
                      f"mpirun was back after {seconds:.1f} s with {status}", f"expected {common.OUT_IN_SECONDS} s")
        common.expect(status in (137, 0), output, f"mpirun ended with {status}, expected 137", job.said()[-2000:])
    common.expect(common.wait_until(lambda: not common.left_behind(options.program, output), 1), output,
                  "a rank outlived mpirun")
    counts.slowest = max(counts.slowest, seconds)
    counts.kills += 1
    counts.steps.add((common.checkpoints(output) or [0])[0])
    return status != 0  # all else was done when a rank was killed on its way out


def chain(options, split, output, straight, chance, counts):
    for _ in range(options.kills):
        if not kill_one(options, split, output, chance, counts):
            counts.early += 1
            break
    common.must_run(options, words(split, output), split[0])
    common.same_bits(output, straight)


def main(options, scratch):
    chance, counts, straight = random.Random(options.seed), Counts(), {}
    for number in range(options.count):
        split = SPLITS[number % len(SPLITS)]
        if split not in straight:
            straight[split] = scratch / f"straight-{split[0]}x{split[1]}"
            common.must_run(options, words(split, straight[split]), split[0])
        chain(options, split, scratch / f"run-{number}", straight[split], chance, counts)
    print(f"kills: {options.count} runs, {counts.kills} kills, every end bitwise the uninterrupted run's; {counts.early} "
          f"runs ended before their last kill; mpirun back after at most {counts.slowest:.2f} s; kills after "
          f"{len(counts.steps)} different steps; seed {options.seed}")


parser = common.arguments(__doc__, 100)
parser.add_argument("--kills", type=int, default=10, help="in a chain; default 10")
common.campaign(main, parser)
