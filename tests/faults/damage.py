"""A flipped bit or a cut at random places of any file of the newest checkpoint: found each time, said by the file's
name, and the checkpoint before it used; the run then ends with the uninterrupted run's bits.

    python damage.py [--count 500] [--seed 1] [--program build/release/shardora]
"""
import os
import random
import shutil

import common

STEPS = 4
LAST, BEFORE = STEPS - 1, STEPS - 2  # the newest checkpoint of the stopped run, and the one before it


def make_runs(options, scratch):
    """A run to its end, and one that stops one step before it, with two checkpoints."""
    straight, stopped = scratch / "straight", scratch / "stopped"
    common.must_run(options, common.words(train__steps=STEPS, output__dir=straight), ranks=1)
    common.must_run(options, common.words(train__steps=LAST, output__dir=stopped), ranks=1)
    (stopped / "result.json").unlink()  # more steps continue it
    return straight, stopped


def damage(path, chance):
    """A bit or a cut, at a place that is chosen among all bytes."""
    size = path.stat().st_size
    place = chance.randrange(size)
    if chance.random() < 0.5:
        os.truncate(path, place)
        return f"cut to {place} of {size} bytes"
    bit = chance.randrange(8)
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    return f"bit {bit} of byte {place} flipped"


def main(options, scratch):
    straight, stopped = make_runs(options, scratch)
    chance, work = random.Random(options.seed), scratch / "damaged"
    for number in range(options.count):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(stopped, work)
        checkpoint = work / "checkpoints" / f"step-{LAST}"
        path = chance.choice(sorted(path for path in checkpoint.rglob("*") if path.is_file()))
        what = f"{path.relative_to(work)}: {damage(path, chance)} (number {number})"
        said = common.must_run(options, common.words(train__steps=STEPS, output__dir=work), ranks=1)
        common.expect(path.name in said and "passed over" in said, what, "the damage was not said", said[-1000:])
        common.expect(f"checkpoints/step-{BEFORE} at step {BEFORE}" in said, what, "the checkpoint before was not used")
        common.same_bits(work, straight)
    print(f"damage: {options.count} places, each found and the checkpoint before used; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 500))
