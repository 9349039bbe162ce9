"""Two hosts started by launch/hosts.sh that lose each other: the link is cut in the start, in a step or in a save; a
host is killed, alone (`killed`) or with its link (`gone`), or it is the one that the script runs on (`head`).

    python links.py [--count 12] [--seed 1] [--limit 10] [--program build/release/shardora]

The kinds take turns. In every second turn mpirun does not notice a cut link (its keep-alive is taken away), and the
ranks' watchdogs must. Everybody must be out within the limit and 5 s: the script, and all processes on both hosts. The
lost host or a rank of it is named, and the same command then continues to the bits of one host's undisturbed run.
"""
import pathlib
import random
import re
import subprocess
import tempfile
import time

import common
import network_hosts

KINDS = ("init", "step", "save", "killed", "gone", "head")
CUT = ("init", "step", "save", "gone")  # no packet tells that somebody has ended
NOT_USABLE = 69
BLAMED = re.compile(r"no progress(?: of rank )?(?P<late>\d*) for .*"
                    r"(?:heard of|waits for) ranks (?P<host>[\d ,to]+) of other hosts")
DEAF_MPIRUN = """#!/bin/bash
words=()
while (($#)); do
  if [[ $2 == oob_tcp_keepalive_* ]]; then shift 3; else words+=("$1"); shift; fi
done
exec {real} "${{words[@]}}"
"""


def words(options, output):
    return common.words(parallel__tensor=2, train__steps=options.steps, output__dir=output, output__checkpoint_every=10,
                        parallel__timeout_seconds=options.limit, parallel__init_timeout_seconds=options.limit)


class Run(common.Job):
    """hosts.sh on the first host. `deaf`: mpirun does not notice a cut link."""

    def __init__(self, options, hosts, scratch, output, deaf=False):
        self.file, self.output, self.hosts = tempfile.TemporaryFile("w+", errors="replace"), output, hosts
        agent = str(hosts.remote_shell(scratch))
        env = common.environment(OMPI_MCA_plm_rsh_agent=agent, PRTE_MCA_plm_ssh_agent=agent)  # Open MPI 4's and 5's
        del env["OMPI_MCA_orte_execute_quiet"]  # the script's to decide
        mpirun_folder = str(pathlib.Path(options.mpiexec).parent)
        env["PATH"] = f"{scratch / 'deaf' if deaf else mpirun_folder}:{env['PATH']}"
        listed = ",".join(f"{name}:2" for name in hosts.names)
        script = [common.ROOT / "launch" / "hosts.sh", "--hosts", listed, "--network", hosts.network, "--oversubscribe",
                  "--shardora", options.program.resolve(), *words(options, output)]
        self.process = subprocess.Popen(hosts.on(hosts.names[0], *script), env=env, stdout=self.file,
                                        stderr=subprocess.STDOUT)

    def lines(self):
        try:
            return len((self.output / "metrics.jsonl").read_text().splitlines())
        except FileNotFoundError:
            return 0


def reach(run, kind, chance):
    """Waits until the run is about where it shall be hit; "init" may have been passed by then: what it is."""
    if kind == "init":
        time.sleep(chance.uniform(0.05, 0.6))
        return "init" if run.lines() == 0 else "step"
    first, saves = chance.randrange(1, 60), run.output / "checkpoints"
    common.expect(common.wait_until(lambda: run.lines() >= first, 60), run.output, f"step {first} was not reached",
                  run.said()[-2000:])
    if kind == "save":
        saving = common.wait_until(lambda: any(saves.glob("*.tmp-*")), 30, every=0.0005)
        common.expect(saving, run.output, "saved nothing")
    else:
        time.sleep(chance.uniform(0, 0.1))
    return kind


def strike(hosts, kind):
    """The victim's number."""
    victim = 0 if kind == "head" else 1
    if kind in CUT:
        hosts.cut(hosts.names[1])
    if kind not in ("init", "step", "save"):
        hosts.kill_all(hosts.names[victim])
    return victim


def left_on(hosts):
    """Processes on the hosts, but for mpirun's daemon on the other one: where a message of its own was on its way as
    the link was cut, only TCP's own patience (a quarter of an hour) ends it, or the link that is back."""
    found = []
    for name in hosts.names:
        for process in hosts.processes(name):
            try:
                what = pathlib.Path(f"/proc/{process}/comm").read_text().strip()
            except OSError:
                continue
            if name == hosts.names[0] or what not in ("orted", "prted"):
                found.append(f"{what} ({process}) on {name}")
    return found


def must_name(run, status, where):
    """The other host by the script, or its ranks by a rank of this one; nobody here."""
    said, other = run.said(), run.hosts.names[1]
    started = "[rank" in said or "could not start on every host" not in said
    expected = common.STOPPED if started else NOT_USABLE
    common.expect(status == expected, where, f"ended with {status}", f"expected {expected}", said[-2000:])
    if not started:
        common.expect(other in said, where, f"expected {other} to be named", said[-2000:])
        return "not started"
    reports = re.findall(r"no progress.*", said)
    blamed = [BLAMED.search(report) for report in reports]
    hosts = re.findall(r"lost (?:a )?host.*", said)
    common.expect(len(reports) <= 1 and len(hosts) <= 1 and reports + hosts, where,
                  f"{len(reports)} reports of ranks and {len(hosts)} of the script, expected one", said[-2000:])
    right = all(match and match["late"] in ("", "2", "3") and match["host"] == "2 to 3" for match in blamed)
    common.expect(right, where, "others were named than ranks 2 and 3", said[-2000:])
    common.expect(all(f"host {other} (ranks 2 to 3)" in host for host in hosts), where,
                  f"expected {other} to be named", said[-2000:])
    return "ranks named" if reports else "host named"


def lose(options, hosts, scratch, output, kind, deaf, chance):
    """One fault: what was hit, how many seconds all were out after it, and who was named."""
    run = Run(options, hosts, scratch, output, deaf)
    kind = reach(run, kind, chance)
    begin = time.monotonic()
    victim = strike(hosts, kind)
    where = f"{output.name} ({kind}{', unnoticed by mpirun' if deaf else ''})"
    status = run.wait(options.limit + 5)
    common.expect(status is not None, where, f"the script is there after {options.limit + 5} s", run.said()[-2000:])
    common.wait_until(lambda: not left_on(hosts), begin + options.limit + 5 - time.monotonic(), every=0.05)
    seconds = time.monotonic() - begin
    common.expect(not left_on(hosts), where, "left: " + ", ".join(left_on(hosts)), run.said()[-2000:])
    named = must_name(run, status, where) if victim == 1 else "the script's own host"
    print(f"links: {where}: out after {seconds:.1f} s, {named}", flush=True)
    hosts.join(hosts.names[1])
    daemon_must_end(hosts, deaf, where)
    return kind, seconds, named


def daemon_must_end(hosts, deaf, where):
    """On the link that is back; without a keep-alive it would wait for minutes."""
    if deaf:
        hosts.kill_all(hosts.names[1])
    ended = common.wait_until(lambda: not hosts.processes(hosts.names[1]), 60, every=0.05)
    common.expect(ended, where, "mpirun's daemon was left on the other host for 60 s after the link was back")


def must_continue(options, hosts, scratch, output, straight):
    run = Run(options, hosts, scratch, output)
    status = run.wait(240)
    common.expect(status == 0, output, f"the next start ended with {status}", run.said()[-2000:])
    common.same_bits(output, straight)


def make_deaf_mpirun(options, scratch):
    (scratch / "deaf").mkdir()
    file = scratch / "deaf" / "mpirun"
    file.write_text(DEAF_MPIRUN.format(real=options.mpiexec))
    file.chmod(0o755)


def main(options, scratch):
    why = network_hosts.missing()
    if why:
        common.skip(why)
    make_deaf_mpirun(options, scratch)
    straight, chance, slowest, tally = scratch / "straight", random.Random(options.seed), 0.0, {}
    common.must_run(options, words(options, straight), ranks=4, limit=240)
    with network_hosts.Hosts(2) as hosts:
        for number in range(options.count):
            turn, place = divmod(number, len(KINDS))
            output, deaf = scratch / f"lost-{number}", turn % 2 == 1 and KINDS[place] in CUT
            kind, seconds, named = lose(options, hosts, scratch, output, KINDS[place], deaf, chance)
            must_continue(options, hosts, scratch, output, straight)
            slowest = max(slowest, seconds)
            what = kind + (", unnoticed by mpirun: " if deaf else ": ") + named
            tally[what] = tally.get(what, 0) + 1
    each = "; ".join(f"{count} {what}" for what, count in sorted(tally.items()))
    print(f"links: {options.count} lost hosts and links, all out within {slowest:.1f} s (limit {options.limit:g} s and "
          f"5 s) and continued to the same bits; {each}; seed {options.seed}")


parser = common.arguments(__doc__, 12)
parser.add_argument("--limit", type=float, default=10, help="parallel.timeout_seconds; default 10")
parser.add_argument("--steps", type=int, default=300, help="of every run; default 300")
common.campaign(main, parser)
