"""A Slurm of the campaign's own: slurmctld on this machine, one slurmd on each of several network_hosts, everything in one
folder. No munge, no systemd, no accounting. Needs root."""
import os
import pathlib
import shutil
import socket
import subprocess
import time

import common
import network_hosts

SBIN = "/usr/sbin:/sbin"
DAEMONS = ("slurmctld", "slurmd")
CONTROLLER_PORT, NODE_PORT = 17010, 17011

CONFIGURATION = """
ClusterName=campaign
SlurmctldHost={host}({gateway})
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
TmpFS={folder}/tmp/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=3600
SlurmdTimeout=10
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{preemption}
PartitionName=at_once Nodes=ALL PriorityTier=1 GraceTime=0 PreemptMode=REQUEUE State=UP MaxTime=INFINITE
PartitionName=graced Nodes=ALL Default=YES PriorityTier=1 GraceTime=10 PreemptMode=REQUEUE State=UP MaxTime=INFINITE
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP MaxTime=INFINITE
"""


def missing():
    lacking = [tool for tool in (*DAEMONS, "srun", "sbatch") if shutil.which(tool, path=f"{os.environ['PATH']}:{SBIN}") is None]
    return f"{', '.join(lacking)} not found: launch/install.sh cluster-tests" if lacking else network_hosts.missing()


class PrivateSlurm:
    def __init__(self, folder, hosts, user_signal):
        """`user_signal`: preempt_send_user_signal."""
        self.folder, self.hosts = pathlib.Path(folder), hosts
        self.daemons = {}
        self.env = common.environment(PATH=f"{os.environ['PATH']}:{SBIN}", SLURM_CONF=str(self.folder / "slurm.conf"))
        self.user_signal = user_signal

    def __enter__(self):
        for name in self.hosts.names:
            for kind in ("spool", "tmp"):
                (self.folder / kind / name).mkdir(parents=True)
        (self.folder / "state").mkdir()
        (self.folder / "slurm.conf").write_text(self._configuration())
        try:
            self._daemon("slurmctld", ["slurmctld", "-D"])
            for name in self.hosts.names:
                self.start_node(name)
            self.wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _configuration(self):
        text = CONFIGURATION.format(host=socket.gethostname().split(".")[0], gateway=self.hosts.gateway, folder=self.folder,
                                    controller_port=CONTROLLER_PORT,
                                    preemption="SlurmctldParameters=preempt_send_user_signal" if self.user_signal else "")
        nodes = [f"NodeName={name} NodeAddr={address} NodeHostname={name} Port={NODE_PORT} CPUs=2 State=UNKNOWN"
                 for name, address in zip(self.hosts.names, self.hosts.addresses)]
        return text.replace("PartitionName=at_once", "\n".join(nodes) + "\nPartitionName=at_once", 1)

    def _daemon(self, name, command):
        with open(self.folder / f"{name}.out", "ab") as output:
            self.daemons[name] = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=output,
                                                  stderr=output, start_new_session=True)

    def start_node(self, name):
        self._daemon(name, self.hosts.on(name, "slurmd", "-D", "-N", name))

    def lose_node(self, name):
        """All of a host's processes at once, its daemon with them."""
        self.hosts.kill_all(name)
        self.daemons.pop(name).wait()

    def wait_for_nodes(self):
        def all_idle():
            return len(self.ask("sinfo", "-h", "-N", "-p", "high", "-t", "idle", "-o", "%N").split()) == len(self.hosts.names)
        if not common.wait_until(all_idle, 60, 0.2):
            logs = "".join(path.read_text(errors="replace")[-500:] for path in sorted(self.folder.glob("*.log")))
            raise common.Failed(f"Slurm's nodes are not idle after 60 s; its daemons say: {logs}")

    def __exit__(self, *_):
        self.ask("scancel", "--user=root")
        common.wait_until(lambda: not self.ask("squeue", "-h").strip(), 10, 0.2)
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *words):
        """A command's standard output."""
        return subprocess.run([str(word) for word in words], env=self.env, capture_output=True, text=True, check=False).stdout

    def submit(self, *words, **variables):
        done = subprocess.run(["sbatch", "--parsable", *map(str, words)], env={**self.env, **variables}, capture_output=True,
                              text=True, check=False)
        common.expect(done.returncode == 0, f"sbatch says {done.stderr.strip()}")
        return done.stdout.strip()

    def fields(self, job):
        """What scontrol shows of a job, as a dictionary."""
        return dict(word.split("=", 1) for word in self.ask("scontrol", "show", "job", job).split() if "=" in word)

    def wait_for(self, job, states, limit):
        """The job's state once it is among `states`, else its last one. `states` may be a test of the fields."""
        holds = states if callable(states) else lambda fields: fields.get("JobState") in states
        end = time.monotonic() + limit
        while True:
            fields = self.fields(job)
            if holds(fields) or time.monotonic() > end:
                return fields
            time.sleep(0.2)
