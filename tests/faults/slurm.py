"""A real Slurm on three hosts, jobs of two nodes by launch/slurm/srun.sh and mpirun.sh: requeued, preempted, out of time,
with a lost node: each comes back by itself and ends with the uninterrupted run's bits. Cancelled: none comes back.

    python slurm.py [--count 1] [--cancelled 20] [--only EVENT] [--seed 1] [--program build/release/shardora]

--count: rounds of all events, each for both launchers.
"""
import collections
import json
import pathlib
import random
import time

import common
import network_hosts
import private_slurm

LAUNCHERS = ("srun", "mpirun")
RUN_SECONDS, LIMIT_SECONDS, MOST_TRIES = 12, 300, 5
OURS = {"shardora", "mpirun", "orted", "srun", "slurmstepd", "slurm_script"}
MEASURED_STEPS = 200


def words(steps, output, **keys):
    return common.words(**{"train__steps": steps, "output__checkpoint_every": max(1, steps // 15), "output__dir": output, **keys})


class Bench:
    """The cluster, and what a job needs to be judged."""

    def __init__(self, options, scratch, slurm, chance):
        self.options, self.scratch, self.slurm, self.chance = options, scratch, slurm, chance
        self.counts, self.number = collections.Counter(), 0

    def submit(self, launcher, steps, *sbatch_words, **keys):
        self.number += 1
        output = self.scratch / f"run-{self.number}-{id(self) % 9973}"
        job = self.slurm.submit("--nodes=2", "--ntasks-per-node=1", "--overcommit", f"--output={output}.log", *sbatch_words,
                                common.ROOT / "launch" / "slurm" / f"{launcher}.sh", *words(steps, output, **keys),
                                SHARDORA_LAUNCH=str(common.ROOT / "launch"),
                                SHARDORA=str(self.options.program.resolve()))
        return job, output

    def wait_for_progress(self, output, what):
        common.expect(common.wait_until(lambda: common.checkpoints(output), 90, 0.05), what, "has saved nothing in 90 s",
                      said(output))
        time.sleep(self.chance.uniform(0, RUN_SECONDS / 4))

    def expect_back(self, job, output, what):
        """In the queue again and to its end, with nothing left. False where it had come to its end before the event."""
        fields = self.slurm.wait_for(job, ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), LIMIT_SECONDS)
        common.expect(fields.get("JobState") == "COMPLETED", what, f"the job is {fields.get('JobState')}", said(output))
        self.expect_nothing_left(what)
        if int(fields["Restarts"]) == 0:
            common.expect("goes into the queue" not in said(output), what, "the job was not started again", said(output))
            return False
        self.counts[what.split(" (")[0]] += 1
        return True

    def leftovers(self):
        found = [(name, process, name_of(process)) for name in self.slurm.hosts.names
                 for process in self.slurm.hosts.processes(name)]
        return [one for one in found if one[2] in OURS]

    def expect_nothing_left(self, what):
        common.expect(common.wait_until(lambda: not self.leftovers(), 20, 0.2), what, f"left behind: {self.leftovers()}")
        queue = self.slurm.ask("squeue", "-h", "-p", "at_once,graced")
        common.expect(not queue.strip(), what, f"still in the queue: {queue}")


def name_of(process):
    try:
        return pathlib.Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def said(output):
    log = pathlib.Path(f"{output}.log")
    return log.read_text(errors="replace")[-2500:] if log.exists() else "(no log)"


def requeue(bench, job, launcher):
    bench.slurm.ask("scontrol", "requeue", job)


def last_signal(bench, job, launcher):
    """The signal of --signal=USR1@120, without the wait for the limit."""
    bench.slurm.ask("scancel", *(["-b"] if launcher == "mpirun" else []), "-s", "USR1", job)


def preempt(bench, job, launcher):
    bench.slurm.submit("-p", "high", f"--nodes={len(bench.slurm.hosts.names)}", "--exclusive", "--output=/dev/null",
                       "--wrap=sleep 2")


def lose_node(bench, job, launcher):
    """One of the job's two, the one with the batch script or the other."""
    used = [name for name in bench.slurm.hosts.names if "shardora" in map(name_of, bench.slurm.hosts.processes(name))]
    if used:
        bench.slurm.lose_node(bench.chance.choice(used))


def kill_rank(bench, job, launcher):
    ranks = [process for name in bench.slurm.hosts.names for process in bench.slurm.hosts.processes(name)
             if name_of(process) == "shardora"]
    if ranks:
        common.kill(bench.chance.choice(ranks))


# What happens, and the words that the job is submitted with.
EVENTS = {"requeue": (requeue, ["-p", "graced"]), "limit": (last_signal, ["-p", "graced"]),
          "preempted-grace-0": (preempt, ["-p", "at_once"]), "preempted-grace-10": (preempt, ["-p", "graced"]),
          "node": (lose_node, ["-p", "graced"]), "rank": (kill_rank, ["-p", "graced"])}


def one_event(bench, name, launcher, steps, straight):
    for _ in range(MOST_TRIES):
        if try_event(bench, name, launcher, steps, straight):
            return
    raise common.Failed(f"{name} by {launcher}: {MOST_TRIES} jobs had ended before; raise RUN_SECONDS")


def try_event(bench, name, launcher, steps, straight):
    happens, sbatch_words = EVENTS[name]
    job, output = bench.submit(launcher, steps, *sbatch_words)
    what = f"{name} by {launcher}{'' if bench.slurm.user_signal else ', no user signal'} (job {job}, {output})"
    bench.wait_for_progress(output, what)
    happens(bench, job, launcher)
    back = bench.expect_back(job, output, what)
    common.same_bits(output, straight)
    for node in set(bench.slurm.hosts.names) - set(bench.slurm.daemons):
        bench.slurm.start_node(node)
    bench.slurm.wait_for_nodes()
    return back


def real_limit(bench, launcher, steps):
    """A minute, the shortest that Slurm knows; how many steps that takes depends on the machine's other work."""
    who, back = "B:" if launcher == "mpirun" else "", False
    while not back:
        steps *= 3
        job, output = bench.submit(launcher, steps, "--time=1", f"--signal={who}USR1@20")
        back = bench.expect_back(job, output, f"real-limit by {launcher} (job {job}, {output})")
    common.same_bits(output, straight_run(bench.options, bench.scratch, steps)[0])


def cancel(bench, count, steps):
    """One after the other at random moments; then a while for any of them to come back."""
    jobs = []
    for number in range(count):
        job, output = bench.submit(LAUNCHERS[number % 2], 1000 * steps, output__checkpoint_every=steps)  # not to end before
        what = f"cancelled (job {job}, {output})"
        bench.slurm.wait_for(job, ("RUNNING",), 60)
        if number % 4 < 2:
            bench.wait_for_progress(output, what)
        time.sleep(bench.chance.uniform(0, 1.5))
        bench.slurm.ask("scancel", job)
        fields = bench.slurm.wait_for(job, lambda fields: fields.get("JobState") == "CANCELLED", 60)
        common.expect(fields.get("JobState") == "CANCELLED", what, f"is {fields.get('JobState')}", said(output))
        bench.expect_nothing_left(what)
        jobs.append(job)
    time.sleep(15)
    states = {job: bench.slurm.fields(job).get("JobState") for job in jobs}
    common.expect(all(state == "CANCELLED" for state in states.values()), f"cancelled jobs are now {states}")
    bench.expect_nothing_left("cancelled")
    bench.counts["cancelled, none back"] += count


def refuse(bench, launcher, steps):
    """What would fail again ends for good, with the program's status."""
    job, output = bench.submit(launcher, steps, model__path=bench.scratch / "no-model")
    fields = bench.slurm.wait_for(job, ("COMPLETED", "FAILED"), LIMIT_SECONDS)
    common.expect((fields.get("ExitCode"), fields.get("Restarts")) == (f"{common.BAD_INPUT}:0", "0"),
                  f"refused by {launcher} (job {job}, {output})", f"the job is {fields}", said(output))
    bench.expect_nothing_left("refused")
    bench.counts[f"refused by {launcher}"] += 1


def straight_run(options, scratch, steps):
    """Its folder, and the seconds that it trained."""
    output = scratch / f"straight-{steps}"
    common.must_run(options, words(steps, output), limit=LIMIT_SECONDS)
    return output, json.loads((output / "result.json").read_text())["seconds"]


def rounds(options, scratch, slurm, chance, steps, straight):
    bench = Bench(options, scratch, slurm, chance)
    names = [name for name in EVENTS if name in options.only or not options.only]
    if not slurm.user_signal:
        names = [name for name in names if name.startswith("preempted")]
    for _ in range(options.count):
        for name in names:
            for launcher in LAUNCHERS:
                one_event(bench, name, launcher, steps, straight)
    if slurm.user_signal:
        for launcher in LAUNCHERS if not options.only or "refused" in options.only else ():
            refuse(bench, launcher, steps)
        if not options.only or "real-limit" in options.only:
            for launcher in LAUNCHERS:
                real_limit(bench, launcher, steps)
        if options.cancelled and (not options.only or "cancel" in options.only):
            cancel(bench, options.cancelled, steps // 10)
    print("; ".join(f"{name}: {count}" for name, count in bench.counts.items()), flush=True)


def main(options, scratch):
    why = private_slurm.missing()
    if why:
        common.skip(why)
    chance = random.Random(options.seed)
    seconds = straight_run(options, scratch, MEASURED_STEPS)[1]
    steps = int(MEASURED_STEPS * RUN_SECONDS / seconds) // 15 * 15
    straight = straight_run(options, scratch, steps)[0]
    for user_signal in (True, False):
        with network_hosts.Hosts(3) as hosts:
            folder = scratch / f"slurm-{user_signal}"
            with private_slurm.PrivateSlurm(folder, hosts, user_signal) as slurm:
                rounds(options, scratch, slurm, chance, steps, straight)
    print(f"slurm: every job that was to come back did, with the uninterrupted run's bits; seed {options.seed}")


parser = common.arguments(__doc__, 1)
parser.add_argument("--cancelled", type=int, default=20, help="jobs to cancel; default 20")
parser.add_argument("--only", action="append", default=[], help="one of " + ", ".join([*EVENTS, "refused", "real-limit", "cancel"]))
common.campaign(main, parser)
