"""A rank that leaves out one collective, any rank in any step: a program with that defect, on 4 ranks of 2 tensor x 2 data.

    python skipped.py [--count 20] [--seed 1] [--program build/release/tests/distributed/comm/comm_skip_program]

The watchdog (limit 2 s) must end everybody within the limit and 5 s, with 75 and the right rank named.
"""
import random
import re
import time

import common

RANKS, STEPS, LIMIT_SECONDS = 4, 20, 2


def skip_one(options, rank, step, slowest):
    where = f"rank {rank} in step {step}"
    with common.Job(options, ["watch", str(rank), str(step)], RANKS) as job:
        common.wait_until(lambda: len(job.rank_processes()) == RANKS, 30)
        begin = time.monotonic()
        status = job.wait(LIMIT_SECONDS + 30)
        seconds = time.monotonic() - begin
        said = job.said()
    common.expect(status == common.STOPPED, where, f"ended with {status}", "expected 75", said[-1500:])
    common.expect(seconds <= LIMIT_SECONDS + common.OUT_IN_SECONDS, where, f"out after {seconds:.1f} s")
    named = re.findall(r"no progress of rank (\d+) .*?over the (\w+) group", said)
    common.expect(named == [(str(rank), "tensor")], where, "expected one line that names it and its group", said[-1500:])
    return max(slowest, seconds)


def main(options, scratch):
    chance, slowest = random.Random(options.seed), 0.0
    for _ in range(options.count):
        slowest = skip_one(options, chance.randrange(RANKS), chance.randrange(1, STEPS + 1), slowest)
    print(f"skipped: {options.count} collectives left out, each rank named, out after {slowest:.1f} s at most (limit "
          f"{LIMIT_SECONDS} s); seed {options.seed}")


parser = common.arguments(__doc__, 20)
parser.set_defaults(program=common.ROOT / "build/release/tests/distributed/comm/comm_skip_program")
common.campaign(main, parser)
