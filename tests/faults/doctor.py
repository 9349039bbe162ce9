"""Faults planted under `shardora doctor`: each is named, with the right exit status, within the time-out.

    python3 tests/faults/doctor.py [--quick] [--only NAME…] [--count ROUNDS] [--program PATH] [--mpiexec PATH]

--quick leaves out those that take longer than a second or two. What this machine cannot plant (no root, no strace) is
left out and said.
"""
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from common import Job, arguments, campaign, environment, expect, kill, wait_until, words

FAULT, FINE = 69, 0
LATE = 5  # seconds after doctor.timeout_seconds
ROOT_USER = os.geteuid() == 0
TOLD = "OMPI_MCA_btl_tcp_if_include"


class CannotPlant(Exception):
    """Why this machine cannot plant a fault."""


def doctor(**keys):
    usual = {"parallel__threads": 1, "parallel__backend": "cpu", "doctor__timeout_seconds": 60}
    return words("doctor", **(usual | keys))


def start(command, limit, env=None):
    """A command in a session of its own: exit status and words; it is ended, with all its ranks, after the limit."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True, env=env or environment())
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return None, said, limit
    return process.returncode, said, time.monotonic() - begin


def mpirun(options, ranks=2):
    return [options.mpiexec, "-q", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"]


def must_name(outcome, status, *texts):
    got, said, seconds = outcome
    end = f"it ended with {got} after {seconds:.1f} s and said: {said[-3000:]}"
    for text in texts:
        expect(text in said, f"doctor did not say '{text}'", end)
    expect(got == status, f"status {status} was expected", end)


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise CannotPlant(f"{name} is not installed")
    return path


def strace(*injections):
    """Words in front of a program whose system calls go wrong."""
    before = [tool("strace"), "-f", "-qq", "-o", "/dev/null"]
    for one in injections:
        before += ["-e", "inject=" + one]
    probe = subprocess.run([*before, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        raise CannotPlant("strace may not trace here")
    return before


def mounted(options, scratch, mount_options, keys):
    """Doctor at two ranks, with a small file system mounted at output.dir for it alone."""
    folder = scratch / "mounted"
    folder.mkdir(exist_ok=True)
    if not ROOT_USER or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        raise CannotPlant("mounting needs root")
    script = f'mount -t tmpfs -o {mount_options} tmpfs "{folder}" && exec "$@"'
    return start(["unshare", "-m", "sh", "-c", script, "sh", *mpirun(options), options.program,
                  *doctor(output__dir=folder, **keys)], 90)


# Each fault: (options, scratch) -> nothing, or Failed, or CannotPlant.

def wrong_mpi_of_srun(options, _):
    env = environment(SLURM_STEP_ID="0", SLURM_STEP_NUM_TASKS="2")
    must_name(start([options.program, *doctor()], 25, env), FAULT, "srun --mpi=pmix")


def separate_worlds(options, _):
    must_name(start([options.program, *doctor()], 25, environment(PMI_SIZE="2")), FAULT,
              "the launcher started 2 ranks, but MPI has 1")


def read_only_output(options, scratch):
    must_name(mounted(options, scratch, "ro", {}), FAULT, "cannot make a folder (Read-only file system)")


def full_disk(options, scratch):
    must_name(mounted(options, scratch, "size=2m", {}), FAULT, "cannot write (No space left on device)",
              "bytes are free")


def one_core_for_two_ranks(options, _):
    core = sorted(os.sched_getaffinity(0))[0]
    must_name(start([tool("taskset"), "-c", str(core), *mpirun(options), options.program, *doctor()], 90), FINE,
              "2 ranks want 2 threads, but may use 1 of", f"({core})")


def missing_device(options, _):
    env = environment(CUDA_VISIBLE_DEVICES="")
    must_name(start([*mpirun(options), options.program, *doctor(parallel__backend="cuda")], 90, env), FAULT,
              "FAULT: ranks 0-1 on host", "no device: parallel.backend = cuda: ")


def mixed_versions(options, scratch):
    """A copy of the program with another build id: its linker's mark, 20 bytes in a note."""
    data = bytearray(options.program.read_bytes())
    mark = data.find(bytes.fromhex("04000000" "14000000" "03000000") + b"GNU\0")
    if mark < 0:
        raise CannotPlant("the program has no build id")
    data[mark + 16] ^= 0xFF
    other = scratch / "shardora"
    other.write_bytes(data)
    other.chmod(0o755)
    first = [options.mpiexec, "-q", "--oversubscribe", "--bind-to", "none", "-n", "1", options.program, *doctor()]
    must_name(start([*first, ":", "-n", "1", other, *doctor()], 90), FAULT,
              "FAULT: mixed versions of this program: rank 1")
    evaluation = words("eval", model__path="m", data__eval="d")
    train = [options.mpiexec, "-q", "--oversubscribe", "--bind-to", "none", "-n", "1", options.program, *evaluation]
    must_name(start([*train, ":", "-n", "1", other, *evaluation], 90), 66, "ranks disagree on program")


def no_flock(options, scratch):
    before = strace("flock:error=ENOSYS")
    must_name(start([*mpirun(options), *before, options.program, *doctor(output__dir=scratch)], 60), FINE,
              "warning: output.dir", "no flock")


def missing_folder(options, _):
    must_name(start([*mpirun(options), options.program, *doctor(output__dir="/proc/nowhere/run")], 90), FAULT,
              "FAULT: output.dir /proc on host", "cannot make a folder")


def frozen_rank(options, _):
    limit = 4
    with Job(options, doctor(doctor__timeout_seconds=limit)) as job:
        expect(wait_until(lambda: job.process_of(1) is not None, 20), "rank 1 did not start")
        time.sleep(random.random() * 0.3)
        frozen, begin = job.process_of(1), time.monotonic()
        if frozen is None or not kill(frozen, signal.SIGSTOP):
            raise CannotPlant("the doctor was done before its rank could be stopped")
        status = job.wait(limit + 3 * LATE)
        must_name((status, job.said(), time.monotonic() - begin), FAULT, f"not done after {limit} s",
                  f"process {frozen} is stopped", "behind is rank 1")


def hanging_file_server(options, scratch):
    before = strace("fsync:delay_enter=60000000")
    outcome = start([*mpirun(options), *before, options.program,
                     *doctor(output__dir=scratch, doctor__timeout_seconds=8)], 8 + 3 * LATE)
    must_name(outcome, FAULT, "not done after 8 s", "rank 0 was at 'the file system of output.dir'")


@contextlib.contextmanager
def two_hosts():
    """Network namespaces with two wires each: eth0, and eth1 whose other end leads nowhere."""
    if not ROOT_USER or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0:
        raise CannotPlant("network namespaces need root")
    names, tag = [], f"sd{os.getpid() % 10000}"

    def ip(*command):
        made = subprocess.run([tool("ip"), *command], capture_output=True, text=True)
        if made.returncode != 0:
            raise CannotPlant("no network namespaces here: " + made.stderr.strip())

    try:
        ip("link", "add", f"{tag}b", "type", "bridge")
        ip("link", "set", f"{tag}b", "up")
        for host in (1, 2):
            name = f"{tag}h{host}"
            ip("netns", "add", name)
            names.append(name)
            for wire in (0, 1):
                ip("link", "add", f"{tag}v{host}{wire}", "type", "veth", "peer", "name", f"eth{wire}", "netns", name)
                ip("link", "set", f"{tag}v{host}{wire}", "up")
                ip("-n", name, "addr", "add", f"10.7{8 + wire}.0.{host}/24", "dev", f"eth{wire}")
                ip("-n", name, "link", "set", f"eth{wire}", "up")
            ip("link", "set", f"{tag}v{host}0", "master", f"{tag}b")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", f"{tag}b"], capture_output=True)


def launch_on(hosts, options, scratch, on_second="true"):
    """Words that start one rank on each host. `on_second`: a command that is run on the second one before."""
    agent = scratch / "agent"
    agent.write_text('#!/bin/sh\nhost=$1; shift\n'
                     f'[ "$host" = {hosts[1]} ] && before="{on_second}" || before=true\n'
                     'exec ip netns exec "$host" unshare -u -m sh -c "hostname $host; $before; $*"\n')
    agent.chmod(0o755)
    return [agent, hosts[0], options.mpiexec, "-q", "--mca", "plm_rsh_agent", agent, "--bind-to", "none", "--mca",
            "oob_tcp_if_include", "10.78.0.0/24", "--host", f"{hosts[0]}:1,{hosts[1]}:1", "-np", "2", "-x", TOLD,
            options.program]


def on_network(interfaces):
    return environment(OMPI_MCA_btl="tcp,self") | {TOLD: interfaces}


def blocked_interface(options, scratch):
    """MPI is told of an interface that is up on both hosts and carries nothing; then of one that there is not."""
    with two_hosts() as hosts:
        command = [*launch_on(hosts, options, scratch), *doctor(doctor__timeout_seconds=8)]

        def told(interfaces):
            return start(command, 8 + 3 * LATE, on_network(interfaces))

        must_name(told("eth0"), FINE, "MPI is told eth0")
        must_name(told("eth1"), FAULT, "not done after 8 s", "none is behind: another host, the network")
        must_name(told("eth0,ib7"), FAULT, "MPI is told to use interface ib7")


def folder_of_one_host(options, scratch):
    """On the second host something else is mounted at output.dir."""
    folder = scratch / "run"
    folder.mkdir(exist_ok=True)
    with two_hosts() as hosts:
        command = launch_on(hosts, options, scratch, f"mount -t tmpfs tmpfs {folder}")
        must_name(start([*command, *doctor(output__dir=folder)], 20 + 3 * LATE, on_network("eth0")), FAULT,
                  "the host of rank 1 does not see there what rank 0 writes")


QUICK = [wrong_mpi_of_srun, separate_worlds, read_only_output, full_disk, one_core_for_two_ranks, missing_device,
         mixed_versions, missing_folder, frozen_rank]
SLOW = [no_flock, hanging_file_server, blocked_interface, folder_of_one_host]


def main(options, scratch):
    random.seed(options.seed)
    faults = [fault for fault in QUICK + ([] if options.quick else SLOW)
              if not options.only or fault.__name__ in options.only]
    named, left_out = 0, []
    for _ in range(options.count):
        for fault in faults:
            folder = pathlib.Path(scratch) / fault.__name__
            folder.mkdir(exist_ok=True)
            begin = time.monotonic()
            try:
                fault(options, folder)
                named += 1
                print(f"{fault.__name__}: named, {time.monotonic() - begin:.1f} s", flush=True)
            except CannotPlant as why:
                left_out.append(f"{fault.__name__} ({why})")
    print(f"{named} faults named" + (f"; left out: {', '.join(sorted(set(left_out)))}" if left_out else ""))
    expect(named > 0, "no fault could be planted here")


def parser():
    made = arguments(__doc__.splitlines()[0], 1)
    made.add_argument("--quick", action="store_true", help="only those that take a second or two")
    made.add_argument("--only", nargs="+", metavar="NAME", help="only these")
    return made


if __name__ == "__main__":
    campaign(main, parser())
