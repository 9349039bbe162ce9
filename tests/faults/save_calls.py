"""Every system call of a save, on rank 0, failed in turn with ENOSPC, EIO, EDQUOT and EROFS; and a kill at each once.

    python save_calls.py [--count N] [--ranks 1] [--seed 1] [--background] [--program build/release/shardora]

A first run under strace tells the calls that a save makes in the output folder. Then one run a fault: it must end with
73 or 74 and name a path of the output folder (and the free bytes where the disk is full), or have done all its work in
spite of it, which no failed write, fsync, rename or making of a file may be. The next start must find a whole
checkpoint, not below the one before, and end with the uninterrupted run's bits. --count: so many faults, chosen at
random; 0: all of them. --background: the save is made by a thread of its own, whose calls are told by their paths in the
checkpoint that it makes.
"""
import random
import re
import shutil
import subprocess
import tempfile

import common

STEPS, SAVED = 4, 3  # of this step's save, which also removes an older checkpoint
ERRORS = ["ENOSPC", "EIO", "EDQUOT", "EROFS"]
KILL = "KILL"
MUST_SUCCEED = {"write", "pwrite64", "fsync", "rename", "mkdir"}  # what else fails may not matter, and is then judged
CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)")                         # by what the run leaves
JOB = "faults"  # so that each run's temporary folders have the same names
MADE = f"step-{SAVED}.tmp-{JOB}"
PATH = re.compile(rf"[\"<](/[^\">]*{MADE}[^\">]*)[\">]")


def words(options, output):
    return common.words(train__steps=STEPS, output__dir=output,
                        output__background_save=str(options.background).lower())


def start(options, output, strace=()):
    """Status and output of a run whose rank 0 is under strace."""
    program_words = words(options, output)
    if options.ranks == 1:
        # Into a file: a pipe would be kept open by whatever outlives a killed program.
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            command = [*strace, str(options.program.resolve()), *program_words]
            status = subprocess.run(command, stdout=said, stderr=said, env=environment()).returncode
            said.seek(0)
            return status, said.read()
    others = [":", "-n", str(options.ranks - 1), str(options.program.resolve()), *program_words]
    with common.Job(options, program_words + others, ranks=1, before=strace, env=environment()) as job:
        return job.wait(120), job.said()


def environment():
    return common.environment(SLURM_JOB_ID=JOB)


def watched(options, output, trace, strace=()):
    """The lines of a run that nothing disturbs."""
    shutil.rmtree(output, ignore_errors=True)
    status, said = start(options, output, ["strace", "-y", "-s", "512", "-o", str(trace), *strace])
    common.expect(status == 0, f"the run to be watched ended with {status}", said[-1000:])
    return trace.read_text(errors="replace").splitlines()


def calls_of_the_thread(options, output, trace):
    """As calls_of_a_save(), and strace's words that count no others: a thread's calls in the checkpoint it makes."""
    paths = sorted({path for line in watched(options, output, trace, ["-f"]) for path in PATH.findall(line)})
    only = ["-f", *(word for path in paths for word in ("-P", path))]
    counts, found, threads = {}, [], set()
    for line in watched(options, output, trace, only):
        match = CALL.match(line)
        if not match or MADE not in line:
            continue
        threads.add(line.split()[0])
        name = match.group(1)
        counts[name] = counts.get(name, 0) + 1
        found.append((name, counts[name], line))
    common.expect(len(threads) == 1, f"the save was made by {len(threads)} threads", "expected one")
    return found, only


def calls_of_a_save(options, output, trace):
    """[(name, its number among the calls of that name, text)] of the save of step SAVED."""
    lines, counts, found = watched(options, output, trace), {}, []
    first = next(i for i, line in enumerate(lines) if f"step-{SAVED}.tmp" in line)
    is_metric = [("write(" in line and "metrics.jsonl" in line) for line in lines]
    begin = max(i for i in range(first) if is_metric[i])
    end = next(i for i in range(first, len(lines)) if is_metric[i])
    for i, line in enumerate(lines):
        match = CALL.match(line)
        if not match:
            continue
        name = match.group(1)
        counts[name] = counts.get(name, 0) + 1
        if begin < i < end and str(output) in line:
            found.append((name, counts[name], line))
    return found


def injection(fault, call, trace, only):
    name, number, _ = call
    what = f"signal={KILL}" if fault == KILL else f"error={fault}"
    return ["strace", "-y", "-s", "512", "-o", str(trace), *only, "-e", f"trace={name}",
            "-e", f"inject={name}:{what}:when={number}"]


def judge(options, fault, output, straight, trace, status, said):
    """Whether the fault was met where it was meant; Failed where it was not survived."""
    injected = [line for line in trace.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
    what = f"{fault} at {injected[0].strip() if injected else 'no call'}"
    if fault == KILL:
        common.expect(status in (-9, 137), what, f"ended with {status}, expected a kill", said[-500:])
        return True
    common.expect(len(injected) == 1, what, "the call of the first run did not come again")
    if str(output) not in injected[0]:
        return False
    name = CALL.match(injected[0]).group(1)
    if status == 0:
        makes = name in MUST_SUCCEED or "O_CREAT" in injected[0]
        common.expect(not makes, what, "the run ended as if nothing had failed")
        common.same_bits(output, straight)
        return True
    common.expect(status in (common.BUSY, common.IO), what, f"ended with {status}, expected 73 or 74", said[-500:])
    common.expect(str(output) in said, what, "the message names no path of the output folder", said[-500:])
    if fault in ("ENOSPC", "EDQUOT") and name in ("write", "mkdir", "fsync"):
        common.expect("bytes are free" in said, what, "the message does not tell the free bytes", said[-500:])
    return True


def inject(options, fault, call, only, scratch, straight):
    output, trace = scratch / "run", scratch / "trace"
    shutil.rmtree(output, ignore_errors=True)
    status, said = start(options, output, injection(fault, call, trace, only))
    met = judge(options, fault, output, straight, trace, status, said)
    what = f"after {fault} at {call[2]}"
    status, said = start(options, output)
    common.expect(status == 0, what, f"the next start ended with {status}", said[-1000:])
    common.expect("is whole" not in said and "damaged" not in said, what, "no whole checkpoint was found", said[-1000:])
    resumed = re.search(r"continues from .* at step (\d+)", said)
    last = int(resumed.group(1)) if resumed else STEPS if "is finished" in said else 0
    common.expect(last >= SAVED - 1, what, f"resumed at step {last}, expected {SAVED - 1} or more", said[-1000:])
    common.same_bits(output, straight)
    left = [path.name for path in output.glob("**/*.tmp*")]
    common.expect(not left, what, f"temporary files were left: {left}")
    return met


def require_strace():
    try:
        works = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        common.skip("strace is missing or may not trace here; launch/install.sh tests installs it")


def main(options, scratch):
    require_strace()
    straight = scratch / "straight"
    status, said = start(options, straight)
    common.expect(status == 0, f"the uninterrupted run ended with {status}", said[-1000:])
    only = []
    if options.background:
        calls, only = calls_of_the_thread(options, scratch / "run", scratch / "trace")
    else:
        calls = calls_of_a_save(options, scratch / "run", scratch / "trace")
    faults = [(fault, call) for call in calls for fault in ERRORS + [KILL]]
    if options.count:
        faults = random.Random(options.seed).sample(faults, min(options.count, len(faults)))
    met = {fault: 0 for fault in ERRORS + [KILL]}
    for number, (fault, call) in enumerate(faults, 1):
        met[fault] += inject(options, fault, call, only, scratch, straight)
        if number % 50 == 0 or number == len(faults):
            print(f"save_calls: a save makes {len(calls)} calls; {number} faults, met in the output folder: {met}; "
                  f"each time a whole checkpoint, and the end bitwise; {options.ranks} ranks, seed {options.seed}",
                  flush=True)


parser = common.arguments(__doc__, 0)
parser.add_argument("--ranks", type=int, default=1)
parser.add_argument("--background", action="store_true", help="with output.background_save")
common.campaign(main, parser)
