"""Resume at every pair of splits (ranks x tensor): the gathered state is the saved one to the bit, and the next losses
are those of the run that stays at its split, within 1e-5; at the same split to the bit.

    python elastic.py [--count 25] [--seed 1] [--program build/release/shardora]

--count: so many pairs, chosen at random; 25: all.
"""
import itertools
import json
import random

import common

SPLITS = [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)]  # ranks, tensor
SAVED, STEPS = 3, 6
TOLERANCE = 1e-5
STATE = ["state.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"]


def run(options, split, output, steps, resume="auto"):
    words = common.words(parallel__tensor=split[1], train__steps=steps, output__dir=output, output__keep=STEPS,
                         output__resume=resume)
    common.must_run(options, words, split[0])
    return output


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def compare_state(there, saved, what):
    for name in STATE:
        got, expected = (folder / "checkpoints" / f"step-{SAVED}" / name for folder in (there, saved))
        common.expect(got.read_bytes() == expected.read_bytes(), what, f"{name} gathered again is not the saved one")


def resume(options, start, split, straight, scratch):
    """The largest relative difference of a loss, after `start`'s checkpoint was resumed at `split`."""
    what = f"{start[0]}x{start[1]} resumed at {split[0]}x{split[1]}"
    checkpoint = straight / "checkpoints" / f"step-{SAVED}"
    name = f"{start[0]}x{start[1]}-{split[0]}x{split[1]}"
    compare_state(run(options, split, scratch / f"state-{name}", SAVED, checkpoint), straight, what)
    got = losses(run(options, split, scratch / f"next-{name}", STEPS, checkpoint))
    expected = losses(straight)
    common.expect(sorted(got) == list(range(SAVED + 1, STEPS + 1)), what, f"trained the steps {sorted(got)}")
    apart = max(abs(got[step] / expected[step] - 1) for step in got)
    limit = 0 if start == split else TOLERANCE
    common.expect(apart <= limit, what, f"a loss differs by {apart:.1e}, expected at most {limit:.0e}")
    return apart


def main(options, scratch):
    pairs = list(itertools.product(SPLITS, SPLITS))
    pairs = sorted(random.Random(options.seed).sample(pairs, min(options.count, len(pairs))))
    straight, worst = {}, 0.0
    for start, split in pairs:
        if start not in straight:
            straight[start] = run(options, start, scratch / f"straight-{start[0]}x{start[1]}", STEPS)
        worst = max(worst, resume(options, start, split, straight[start], scratch))
    print(f"elastic: {len(pairs)} pairs of splits, every state identical after gathering; next losses within "
          f"{worst:.1e}; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 25))
