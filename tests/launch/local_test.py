"""launch/local.sh and hosts.sh: ranks, cores, words of mpirun, exit status, signals, a launcher that lingers."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

from launch_scripts import LAUNCH, Scripts

RULE = "-" * 74 + "\n"
LOST = RULE + """ORTE has lost communication with a remote daemon.

  HNP daemon   : [[27045,0],0] on node a
  Remote daemon: [[27045,0],1] on node b.c

This is usually due to either a failure of the TCP network
""" + RULE
KILLED = RULE + "mpirun noticed that process rank 1 with PID 0 on node b exited on signal 9 (Killed).\n" + RULE
UNABLE = RULE + "ORTE was unable to reliably start one or more daemons.\nThis usually is caused by:\n" + RULE
ABORTED = RULE + "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 65.\n" + RULE + RULE + \
    "Primary job  terminated normally, but 1 process returned\na non-zero exit code. Per user-direction, the job has been " \
    "aborted.\n" + RULE
SLOTS = RULE + "There are not enough slots available in the system to satisfy the 4\nslots that were requested.\n" + RULE
OURS = "shardora: [rank 0] step 1\n"

# What slurm's scripts share with local.sh, with a program's end that takes long.
LINGERING = """
source {launch}/common/supervise.sh
patience=1
supervise {folder}/run bash -c 'mkdir -p {folder}/run; printf "{{\\n  \\"status\\": 76,\\n}}\\n" >{folder}/run/exit.json
  sleep 987 & trap "" TERM; while :; do wait; done'
exit "$status"
"""


# A launcher that cannot reach its daemons, after a rank has said that a peer is lost.
OUT_OF_REACH = """
source {launch}/common/supervise.sh
supervise {folder}/run bash -c 'echo "shardora: [rank 1] no progress of rank 2 for 10 s" >&2; trap "" TERM; sleep 987'
settle_lost_host eval
exit "$status"
"""


class Ranks(Scripts):
    def launched(self, *words, **more):
        done = self.start("local.sh", *words, "train", **more)
        self.assertEqual(done.returncode, 0, done.stdout)
        return self.lines("launched")[-1]

    def test_one_a_gpu(self):
        self.assertIn("-np 4 ", self.launched(FAKE_GPUS="4"))
        self.assertIn("-np 2 ", self.launched(FAKE_GPUS="4", CUDA_VISIBLE_DEVICES="0,3"))

    def test_one_without_a_gpu_with_all_cores(self):
        self.assertIn("--map-by slot:PE=8 --bind-to core -np 1 ", self.launched())

    def test_as_many_as_were_asked(self):
        self.assertIn("--map-by slot:PE=2 --bind-to core -np 3 ", self.launched("-n", "3", FAKE_GPUS="4"))

    def test_never_two_on_a_core_unasked(self):
        done = self.start("local.sh", "-n", "9", "train")
        self.assertEqual(done.returncode, 64)
        self.assertEqual(done.stdout, "local.sh: 9 ranks on a host with 8 cores for them; expected at most one a core, or "
                                      "--oversubscribe\n")
        self.assertEqual(self.start("local.sh", "-n", "5", "train", FAKE_THREADS="2").returncode, 64)
        self.assertIn("OVERSUBSCRIBE --bind-to none -np 9 ", self.launched("-n", "9", "--oversubscribe"))


class Refusals(Scripts):
    def refused(self, *words, **more):
        done = self.start("local.sh", *words, **more)
        self.assertEqual((done.returncode, done.stdout.count("\n")), (64, 1), done.stdout)
        self.assertEqual(self.lines("launched"), [])
        return done.stdout

    def test_are_one_line_each(self):
        self.assertIn("nothing to start", self.refused())
        self.assertIn("unknown option --ranks", self.refused("--ranks", "2", "train"))
        self.assertIn("-n two: expected a number", self.refused("-n", "two", "train"))
        self.assertIn("-n 0: expected a number", self.refused("-n", "0", "train"))
        self.assertIn("-n: expected a number", self.refused("-n"))
        self.assertIn("/no/shardora: no such program", self.refused("--shardora", "/no/shardora", "train"))

    def test_of_hosts(self):
        for hosts in ("a", "a:", ":2", "a:x", "a:1,b"):
            done = self.start("hosts.sh", "--hosts", hosts, "train")
            self.assertEqual((done.returncode, done.stdout.count("\n")), (64, 1), done.stdout)
        self.assertEqual(self.start("hosts.sh", "train").returncode, 64)
        done = self.start("hosts.sh", "--hosts", "a:2,b:1", "--network", "10.0.0.0/24", "train")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("--mca btl_tcp_if_include 10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24 --host a:2,b:1 -np 3 ",
                      self.lines("launched")[-1])


class ExitStatus(Scripts):
    def status(self, *words, **more):
        return self.start("local.sh", "train", *words, **more).returncode

    def test_is_the_runs_own_word_where_it_has_one(self):
        folder = f"--output.dir={self.run_folder}"
        self.assertEqual(self.status(folder, FAKE_STATUS="143", FAKE_WRITES="65"), 65)
        self.assertEqual(self.status(folder, FAKE_STATUS="205"), 205)  # exit.json is the first start's

    def test_finds_the_folder_where_the_program_does(self):
        config = self.folder / "run.cfg"
        for text in ("[output]\ndir = DIR # here\n", "output.dir=DIR\n", "[data]\ndir = no\n[ output ]\n keep=1\n\tdir=DIR  \n",
                     '[output] # here\n# dir = no\ndir = "DIR" # "here"\r\n'):
            config.write_text(text.replace("DIR", str(self.run_folder)))
            (self.run_folder / "exit.json").unlink(missing_ok=True)
            # The program of this test writes into FAKE/run without being told.
            self.assertEqual(self.status("--config", config, FAKE_STATUS="1", FAKE_WRITES="66"), 66, text)
            self.assertEqual(self.status(f"--config={config}", FAKE_STATUS="1", FAKE_WRITES="65"), 65, text)
            self.assertEqual(self.status("--config", config, "--output.dir", "/else", FAKE_STATUS="1", FAKE_WRITES="66"), 1)

    def test_reads_a_configuration_as_the_program_does(self):
        config = self.folder / "run.cfg"
        for value, folder in (("run#1", "run#1"), ("run #1", "run"), ("#1", ""), ('"run #1"', "run #1"), ('"a ""b"""', 'a "b"'),
                              ('"a" # "b"', "a"), ("a=b", "a=b"), ('a "b"', 'a "b"')):
            config.write_text(f"[output]\ndir = {value}\n")
            text = f"source {LAUNCH}/common/supervise.sh; output_dir --config={config}"
            done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, folder + "\n", value)

    def test_a_signal_before_the_program_could_take_it(self):
        self.assertEqual(self.status(f"--output.dir={self.run_folder}", FAKE_STATUS="138"), 138)  # none came to us
        text = f"source {LAUNCH}/common/supervise.sh; kill -TERM $$; supervise /none false; settle_signal {{}}; exit $status"
        for command, status in (("train", 75), ("eval", 138)):
            done = subprocess.run(["bash", "-c", text.format(command)], env=self.environment(), check=False)
            self.assertEqual(done.returncode, status)


class LauncherWords(Scripts):
    """What mpirun says of itself, and what becomes of it."""

    def told(self, reports, *words, **more):
        done = self.start("hosts.sh", "--hosts", "a:2,b.c:3", *(words or ["train"]), FAKE_REPORTS=reports, **more)
        return done.returncode, done.stdout

    def test_a_rank_that_has_ended_tells_of_it_itself(self):
        told = self.told(OURS + ABORTED + "[a:12] 1 more process has sent help message help-x / y\n", FAKE_STATUS="65")
        self.assertEqual(told, (65, OURS))

    def test_a_lost_host_is_one_line_with_its_ranks(self):
        for reports in (OURS + LOST, OURS + LOST + KILLED + SLOTS, LOST + OURS):
            status, said = self.told(reports, FAKE_STATUS="205")
            self.assertEqual(status, 75, said)
            self.assertEqual(sorted(said.splitlines())[0][:48], "hosts.sh: lost host b.c (ranks 2 to 4): it has d")
            self.assertEqual(said.count("\n"), 2)

    def test_a_lost_host_does_not_hide_how_the_run_has_ended(self):
        folder = f"--output.dir={self.run_folder}"
        self.assertEqual(self.told(OURS + LOST, "train", folder, FAKE_STATUS="205", FAKE_WRITES="76")[0], 76)
        self.assertEqual(self.told(OURS + LOST, "eval", FAKE_STATUS="205")[0], 205)  # nothing to continue

    def test_a_daemon_that_is_lost_later_is_no_daemon_that_did_not_start(self):
        status, said = self.told(OURS + UNABLE, FAKE_STATUS="9")
        self.assertEqual(status, 75)
        self.assertIn("hosts.sh: lost a host: ", said)
        status, said = self.told("ssh: no such host\n" + UNABLE, FAKE_STATUS="1")
        self.assertEqual(status, 69)
        self.assertTrue(said.startswith("ssh: no such host\nhosts.sh: mpirun could not start on every host; "), said)

    def test_a_killed_rank_is_named(self):
        status, said = self.told(OURS + KILLED, FAKE_STATUS="137")
        self.assertEqual((status, said), (137, OURS + "hosts.sh: rank 1 on b was ended by signal 9 (Killed)\n"))

    def test_all_else_is_passed_on(self):
        table = RULE + "".join(f"row {number} of a table that is no report\n" for number in range(200))
        for words in (SLOTS, "no line's end", RULE, table, "\n \\ %s\n"):
            self.assertEqual(self.told(words, FAKE_STATUS="1"), (1, words if words.endswith("\n") else words + "\n"))


class Signals(Scripts):
    def test_all_become_the_one_that_mpirun_passes_on(self):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored here is ignored by what we start
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            for name in ("waits", "signals"):
                (self.folder / name).unlink(missing_ok=True)
            command = ["bash", LAUNCH / "local.sh", "train", f"--output.dir={self.run_folder}"]
            script = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                      env=self.environment(FAKE_STATUS="1", FAKE_WAITS="1"))
            while not (self.folder / "waits").exists():
                time.sleep(0.01)
            os.killpg(script.pid, number)  # as a terminal does; the launcher is in a session of its own
            self.assertEqual(script.wait(30), 75)
            self.assertEqual(self.lines("signals"), ["USR1"])

    def test_a_launcher_that_lingers_is_ended_with_all_it_has_started(self):
        text = LINGERING.format(launch=LAUNCH, folder=self.folder)
        done = subprocess.run(["bash", "-c", text], env=self.environment(), capture_output=True, text=True, timeout=30,
                              check=False)
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertIn("its launcher has not", done.stderr)
        left = [entry for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline") if self.is_sleeper(entry)]
        self.assertEqual(left, [])

    def test_a_launcher_that_waits_for_a_lost_peer_is_ended_soon(self):
        text, begin = OUT_OF_REACH.format(launch=LAUNCH, folder=self.folder), time.monotonic()
        done = subprocess.run(["bash", "-c", text], env=self.environment(), capture_output=True, text=True, timeout=30,
                              check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (75, 1), done.stderr)
        self.assertLess(time.monotonic() - begin, 5)

    @staticmethod
    def is_sleeper(entry):
        try:
            return entry.read_bytes() == b"sleep\x00987\x00"
        except OSError:
            return False


if __name__ == "__main__":
    unittest.main()
