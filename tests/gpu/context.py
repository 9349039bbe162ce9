"""Where programs, data and time are found: a folder that pack.sh made, or a build folder. Starting programs, bounded."""
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the sources, or of the pack
PROGRAMS = {"shardora": "shardora", "kernels_test": "tests/kernels/kernels_test", "bench_train": "tests/bench/bench_train"}


@dataclasses.dataclass
class Done:
    status: int
    output: str
    errors: str
    seconds: float
    timed_out: bool

    def why(self):
        """One line about an end that was no success."""
        last = (self.errors.strip() or self.output.strip()).splitlines()[-3:]
        how = "ran out of time" if self.timed_out else f"ended with status {self.status}"
        return f"{how}: {' / '.join(last)}"


class Context:
    def __init__(self, out, seconds, build=None, backend="cuda"):
        self.out, self.backend = out, backend
        self.end = time.monotonic() + seconds
        self.build = build or (ROOT / "bin" if (ROOT / "bin").is_dir() else ROOT / "build/cuda")
        self.data = pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", ROOT.parent / "shared/data"))
        self.cores = len(os.sched_getaffinity(0))
        out.mkdir(parents=True, exist_ok=True)

    def program(self, name):
        """Its path, or None."""
        for path in (self.build / name, self.build / PROGRAMS[name]):
            if path.is_file():
                return path
        return None

    def remaining(self):
        return max(0.0, self.end - time.monotonic())

    def start(self, words, name, **environment):
        """Its output goes to files named after it, which come back with the results."""
        if words[0] != sys.executable:
            environment["LD_LIBRARY_PATH"] = library_path()
        output, errors = (open(self.out / f"{name}.{kind}", "w+") for kind in ("out", "err"))
        process = subprocess.Popen([str(w) for w in words], stdout=output, stderr=errors, text=True,
                                   env=os.environ | environment, start_new_session=True)
        process.files, process.begin = (output, errors), time.monotonic()
        return process

    def finish(self, process, seconds):
        """Waits that long, and no longer than the whole run may take; then it and what it started are ended."""
        timed_out = False
        try:
            process.wait(max(1.0, min(seconds, self.remaining()) - (time.monotonic() - process.begin)))
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = []
        for file in process.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Done(process.returncode, *texts, time.monotonic() - process.begin, timed_out)

    def run(self, words, name, seconds, **environment):
        return self.finish(self.start(words, name, **environment), seconds)


def library_path():
    """Where our programs find what run.sh found or pack.sh brought."""
    return ":".join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), os.environ.get("SHARDORA_LIBRARIES")]))


def device():
    """The first device as its driver names it, or None."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = "name,driver_version,memory.total,memory.used,clocks.sm,compute_cap"
    done = subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    return dict(zip(asked.split(","), lines[0].split(", "))) if done.returncode == 0 and lines else None
