"""The output folder's own faults: removed during the run, taken by another run, and a second run at the same time.

    python folders.py [--count 4] [--seed 1] [--program build/release/shardora]

A run whose folder is gone, or another's, ends with 73 or 74, says the lock's path, and makes no folder come back; a
second run is refused with 73 and told the holder, and the first goes on to the undisturbed run's bits. --count: rounds,
every other one with saving in the background.
"""
import os
import random
import shutil
import time

import common

RANKS, STEPS = 2, 4000  # longer than it takes to do something to it


def words(output, steps, background):
    return common.words(train__steps=steps, output__dir=output, output__log_every=1000,
                        output__background_save=str(background).lower())


def started(job, output):
    """Waits for the first checkpoint."""
    common.expect(common.wait_until(lambda: common.checkpoints(output), 60, every=0.05), output,
                  "no checkpoint after 60 s", job.said()[-1000:])


def end_of(job, output, what, statuses):
    status = job.wait(30)
    common.expect(status in statuses, what, f"ended with {status}, expected one of {statuses}", job.said()[-1000:])
    common.expect(str(output) in job.said(), what, "the message names no path of the output folder", job.said()[-1000:])


def removed(options, output, background, chance):
    with common.Job(options, words(output, STEPS, background), RANKS) as job:
        started(job, output)
        time.sleep(chance.random())
        while output.exists():  # it may make a file while the folder is being removed
            shutil.rmtree(output, ignore_errors=True)
        end_of(job, output, "removed during the run", (common.BUSY, common.IO))
    common.expect(not output.exists(), output, "came back after it was removed")


def taken(options, output, background, chance):
    aside = output.with_name("aside")
    with common.Job(options, words(output, STEPS, background), RANKS) as first:
        started(first, output)
        time.sleep(chance.random())
        os.rename(output, aside)
        common.must_run(options, words(output, 2, background), RANKS)
        end_of(first, output, "moved, and another run in its place", (common.BUSY, common.IO))
    common.expect(common.checkpoints(output) == [2, 1], output, "holds other checkpoints than the second run's",
                  common.checkpoints(output))
    shutil.rmtree(aside)


def second(options, output, background):
    with common.Job(options, words(output, 60, background), RANKS) as first:
        started(first, output)
        said = common.must_run(options, words(output, 60, background), RANKS, status=common.BUSY)
        common.expect("another run is using it: process" in said, "a second run", "the holder was not told", said)
        common.expect(first.wait(120) == 0, "the first run was disturbed", first.said()[-1000:])
    straight = output.with_name("straight")
    common.must_run(options, words(straight, 60, background), RANKS)
    common.same_bits(output, straight)
    shutil.rmtree(straight)


def main(options, scratch):
    chance, output = random.Random(options.seed), scratch / "run"
    for number in range(options.count):
        background = number % 2 == 1
        removed(options, output, background, chance)
        taken(options, output, background, chance)
        shutil.rmtree(output)
        second(options, output, background)
        shutil.rmtree(output)
    print(f"folders: {options.count} removed, {options.count} taken, {options.count} second runs; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 4))
