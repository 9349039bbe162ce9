"""Two hosts by launch/hosts.sh, mpirun over TCP, tensor 2 within and data 2 across: the bits of one host's four ranks.

    python hosts.py [--count 3] [--seed 1] [--program build/release/shardora]

Also stopped by a signal to the script and continued, as often.
"""
import random
import signal
import subprocess
import time

import common
import network_hosts

STEPS = 40


def words(output):
    return common.words(parallel__tensor=2, train__steps=STEPS, output__dir=output)


def start(options, hosts, scratch, output):
    script = [common.ROOT / "launch" / "hosts.sh", "--hosts", ",".join(f"{name}:2" for name in hosts.names), "--network",
              hosts.network, "--oversubscribe", "--shardora", options.program.resolve(), *words(output)]
    env = common.environment(OMPI_MCA_plm_rsh_agent=str(hosts.remote_shell(scratch)))
    return subprocess.Popen(hosts.on(hosts.names[0], *script), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


def finish(job, what):
    try:
        return job.communicate(timeout=120)[0], job.returncode
    except subprocess.TimeoutExpired:
        job.kill()
        raise common.Failed(f"{what}: did not end within 120 s") from None


def must_finish(options, hosts, scratch, output):
    said, status = finish(start(options, hosts, scratch, output), output)
    common.expect(status == 0, output, f"ended with {status}, expected 0", said[-2000:])
    common.expect("4 ranks = 2 data x 2 tensor" in said, output, "not the split that was asked", said[-2000:])


def main(options, scratch):
    why = network_hosts.missing()
    if why:
        common.skip(why)
    straight, chance, stopped = scratch / "straight", random.Random(options.seed), 0
    common.must_run(options, words(straight), ranks=4)
    with network_hosts.Hosts(2) as hosts:
        for number in range(options.count):
            output, halved = scratch / f"run-{number}", scratch / f"halved-{number}"
            must_finish(options, hosts, scratch, output)
            common.same_bits(output, straight)
            job = start(options, hosts, scratch, halved)
            time.sleep(chance.uniform(0.2, 2.5))
            job.send_signal(chance.choice((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)))
            said, status = finish(job, halved)
            common.expect(status in (common.STOPPED, 0), halved, f"ended with {status}, expected 75", said[-2000:])
            stopped += status == common.STOPPED
            must_finish(options, hosts, scratch, halved)
            common.same_bits(halved, straight)
            nothing_left = lambda: not any(map(hosts.processes, hosts.names))  # noqa: E731
            common.expect(common.wait_until(nothing_left, 5), "processes are left on the hosts")
    print(f"hosts: {2 * options.count} runs on two hosts, each bitwise one host's; {stopped} of {options.count} stopped "
          f"by a signal and continued; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 3))
