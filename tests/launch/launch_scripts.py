"""What the tests of the launch scripts share: a folder with a scheduler, launchers and a program of the tests' own, which
do as FAKE_… tells them and write down what they were asked."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"

# Skips a launcher's own words, up to the program.
LAUNCHER = """
echo "$(basename "$0") $*" >>"$FAKE/launched"
while [[ $1 != */shardora ]]; do shift; done
exec "$@"
"""
FAKES = {
    "squeue": 'echo "$*" >>"$FAKE/squeue"; echo "$FAKE_END"',
    "scontrol": """
echo "$*" >>"$FAKE/scontrol"
if [[ $1 == show ]]; then printf 'JobId=12 JobName=x\\n   JobState=%s Reason=None\\n   StdErr=%s\\n' "$FAKE_STATE" "$FAKE/log"; fi
""",
    "srun": LAUNCHER,
    "mpirun": """if [[ $1 == --version ]]; then echo "mpirun (Open MPI) $FAKE_MPI"; exit; fi
printf %s "$FAKE_REPORTS" >&2""" + LAUNCHER,
    "nvidia-smi": 'for ((i = 0; i < FAKE_GPUS; ++i)); do echo "GPU $i: some"; done; [[ $FAKE_GPUS != 0 ]]',
    "lscpu": 'echo "Thread(s) per core:  $FAKE_THREADS"',
    "nproc": "echo 8",
    "shardora": """
printf '%s\\n' "$@" >"$FAKE/words"
for word in "$@"; do if [[ $word == --output.dir=* ]]; then dir=${word#*=}; fi; done
dir=${dir:-$FAKE/run}
[[ -z $FAKE_SAVES ]] || mkdir -p "$dir/checkpoints/step-$FAKE_SAVES"
[[ -z $FAKE_SAYS ]] || echo "$FAKE_SAYS" >>"$FAKE/log"
[[ -z $FAKE_KILLED ]] || echo "oom_kill $FAKE_KILLED" >"$FAKE/cgroup/job/memory.events"
answer() {
  if [[ -n $1 ]]; then
    mkdir -p "$dir"
    printf '{\\n  "status": %d,\\n  "reason": "signal",\\n  "step": 3\\n}\\n' "$1" >"$dir/new" && mv "$dir/new" "$dir/exit.json"
  fi
  exit "$FAKE_STATUS"
}
if [[ -n $FAKE_WAITS ]]; then
  trap 'echo USR1 >>"$FAKE/signals"; answer 75' USR1
  trap 'echo other >>"$FAKE/signals"' TERM INT
  touch "$FAKE/waits"
  for ((i = 0; i < 300; ++i)); do sleep 0.1; done
fi
answer "$FAKE_WRITES"
""",
}
QUIET = {"FAKE_STATUS": "0", "FAKE_WRITES": "", "FAKE_SAVES": "", "FAKE_SAYS": "", "FAKE_KILLED": "", "FAKE_WAITS": "",
         "FAKE_STATE": "RUNNING", "FAKE_END": "N/A", "FAKE_MPI": "4.1.4", "FAKE_REPORTS": "", "FAKE_GPUS": "0", "FAKE_THREADS": "1"}


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "bin").mkdir()
        for name, text in FAKES.items():
            file = self.folder / "bin" / name
            file.write_text("#!/usr/bin/env bash\n" + text)
            file.chmod(0o755)
        (self.folder / "cgroup/job").mkdir(parents=True)
        (self.folder / "cgroup/job/memory.events").write_text("low 0\noom_kill 1\n")
        (self.folder / "cgroup_of_self").write_text("0::/job/step_batch\n")
        (self.folder / "log").write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=12.0\n")  # an earlier start
        self.run_folder = self.folder / "run"

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "CUDA_VIS"))}
        return {**kept, **QUIET, "PATH": f"{self.folder}/bin:{kept['PATH']}", "FAKE": str(self.folder), "TZ": "UTC",
                "SHARDORA_LAUNCH": str(LAUNCH), "SLURM_SUBMIT_DIR": "/nowhere", "SLURM_JOB_ID": "12",
                "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_CPUS_ON_NODE": "8",
                "cgroups": f"{self.folder}/cgroup", "cgroup_of_self": f"{self.folder}/cgroup_of_self", **more}

    def start(self, script, *words, **more):
        command = ["bash", LAUNCH / script, *map(str, words)]
        return subprocess.run(command, env=self.environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60, check=False)

    def lines(self, name):
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []
