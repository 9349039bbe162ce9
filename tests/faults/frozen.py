"""A rank that stands still (SIGSTOP) at a random moment: in the start, in a step, in a save. And what must be no alarm:
clean runs, a pause of half the limit, a suspension of the whole job.

    python frozen.py [--count 20] [--clean 20] [--pauses 20] [--suspensions 10] [--limit 10] [--seed 1]
                     [--program build/release/shardora]

Everybody must be out within the limit and 5 s, with 75, the right rank named, and the next start must continue; what is
no fault must end with the bits of a run that was let alone.
"""
import random
import re
import signal
import time

import common

MOMENTS = ("step", "save", "start")
LEAST_START_SECONDS = 10  # MPI itself may take seconds on a machine that has much else to do


def start_limit(limit):
    return max(limit, LEAST_START_SECONDS)


def words(output, limit, steps):
    return common.words(train__steps=steps, output__dir=output, output__checkpoint_every=5, train__eval_every=0,
                        parallel__tensor=2, parallel__timeout_seconds=limit, parallel__init_timeout_seconds=start_limit(limit))


def lines(output):
    try:
        return len((output / "metrics.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def reach(job, output, moment, chance):
    """Waits until the job is about where it shall be hit."""
    common.expect(common.wait_until(lambda: len(job.rank_processes()) == job.ranks, 30), output, "ranks did not start")
    if moment == "start":
        time.sleep(chance.uniform(0, 0.2))
    elif moment == "step":
        common.wait_until(lambda: lines(output) > 1, 60)
        time.sleep(chance.uniform(0, 0.3))
    else:
        saving = output / "checkpoints"
        common.wait_until(lambda: saving.exists() and any(saving.glob("*.tmp-*")), 60, every=0.0005)


def freeze(options, output, moment, chance, slowest):
    limit = start_limit(options.limit) if moment == "start" else options.limit
    with common.Job(options, words(output, options.limit, 100000), ranks=2) as job:
        reach(job, output, moment, chance)
        rank = chance.randrange(2)
        victim = job.process_of(rank)
        common.expect(victim is not None and common.kill(victim, signal.SIGSTOP), output, "no rank to freeze",
                      job.said()[-1500:])
        begin = time.monotonic()
        status = job.wait(limit + 30)
        seconds = time.monotonic() - begin
        said = job.said()
    common.expect(status == 75, output, f"a frozen rank ended the job with {status} after {seconds:.1f} s",
                  f"expected 75 ({moment})", said[-1500:])
    common.expect(seconds <= limit + 5, output, f"out after {seconds:.1f} s", f"limit {limit} s and 5 s ({moment})")
    common.expect(len(re.findall(rf"no progress of rank {rank} for", said)) == 1, output,
                  f"rank {rank} was frozen ({moment})", "expected one line that names it", said[-1500:])
    common.expect(common.wait_until(lambda: not common.left_behind(options.program, output), 1), output,
                  "a rank outlived mpirun")
    if lines(output) > 1:
        record = common.exit_record(output)
        common.expect(record.get("status") == 75 and record.get("reason", "").startswith("lost peer: no progress of rank"),
                      output, f"exit.json says {record}", "expected 75 and the lost peer")
    return max(slowest, seconds - limit)


def undisturbed(options, output, straight, disturb):
    """A whole run that something happens to which must be no alarm."""
    with common.Job(options, words(output, options.limit, options.steps), ranks=2) as job:
        common.expect(common.wait_until(lambda: len(job.rank_processes()) == job.ranks, 30), output, "did not start")
        disturb(job)
        status = job.wait(120 + 4 * options.limit)
        common.expect(status == 0, output, f"a false alarm? it ended with {status}", job.said()[-1500:])
    common.same_bits(output, straight)


def stop_for(processes, seconds):
    for process in processes:
        common.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    for process in processes:
        common.kill(process, signal.SIGCONT)


def pause(options, chance):
    def disturb(job):
        time.sleep(chance.uniform(0, 0.5))
        stop_for([process for process in [job.process_of(chance.randrange(2))] if process], options.limit / 2)
    return disturb


def suspend(options, chance):
    def disturb(job):
        time.sleep(chance.uniform(0, 0.5))
        stop_for(job.rank_processes(), options.limit * 1.5)
    return disturb


def main(options, scratch):
    chance, slowest = random.Random(options.seed), 0.0
    for number in range(options.count):
        slowest = freeze(options, scratch / f"frozen-{number}", MOMENTS[number % len(MOMENTS)], chance, slowest)
    straight = scratch / "straight"
    if options.clean + options.pauses + options.suspensions:
        common.must_run(options, words(straight, options.limit, options.steps))
    for number in range(options.clean):
        undisturbed(options, scratch / f"clean-{number}", straight, lambda job: None)
    for number in range(options.pauses):
        undisturbed(options, scratch / f"pause-{number}", straight, pause(options, chance))
    for number in range(options.suspensions):
        undisturbed(options, scratch / f"suspended-{number}", straight, suspend(options, chance))
    print(f"frozen: {options.count} frozen ranks, all named, out at most {slowest:.1f} s after the limit "
          f"({options.limit} s, start {start_limit(options.limit)} s); no alarm in {options.clean} clean runs, {options.pauses} pauses of half the limit and {options.suspensions} "
          f"suspensions of the whole job; seed {options.seed}")


parser = common.arguments(__doc__, 20)
parser.add_argument("--clean", type=int, default=20, help="runs that are let alone; default 20")
parser.add_argument("--pauses", type=int, default=20, help="runs with a pause of half the limit; default 20")
parser.add_argument("--suspensions", type=int, default=10, help="suspensions of the whole job; default 10")
parser.add_argument("--limit", type=float, default=10, help="parallel.timeout_seconds; default 10")
parser.add_argument("--steps", type=int, default=100, help="of the runs that are no fault; default 100")
common.campaign(main, parser)
