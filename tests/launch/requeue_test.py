"""launch/slurm: which job goes into the queue again, with which words, and what is counted."""

import json
import signal
import subprocess
import time
import unittest

from launch_scripts import LAUNCH, Scripts

NEVER = (0, 1, 64, 65, 66, 69, 70, 71, 73, 74, 76, 78)


class Requeue(Scripts):
    def train(self, *words, script="slurm/srun.sh", **more):
        return self.start(script, "train", f"--output.dir={self.run_folder}", *words, **more)

    def requeued(self):
        return [line.split()[1] for line in self.lines("scontrol") if line.startswith("requeue")]

    def expect(self, status, requeued, **more):
        (self.folder / "scontrol").unlink(missing_ok=True)
        done = self.train(**more)
        self.assertEqual(done.returncode, status, (more, done.stdout))
        self.assertEqual(self.requeued(), ["12"] if requeued else [], (more, done.stdout))
        return done.stdout


class WhatGoesIntoTheQueueAgain(Requeue):
    def setUp(self):
        super().setUp()
        self.run_folder.mkdir()

    def test_a_run_that_says_that_it_can_be_resumed(self):
        for launcher in (75, 143, 1):  # whatever the launcher makes of it
            (self.run_folder / "attempts.json").unlink(missing_ok=True)
            self.expect(75, True, FAKE_STATUS=str(launcher), FAKE_WRITES="75")

    def test_no_run_that_would_fail_again(self):
        for status in NEVER:
            self.expect(status, False, FAKE_STATUS=str(status))
            self.expect(status, False, FAKE_STATUS="143", FAKE_WRITES=str(status))

    def test_a_lost_rank_or_host_where_the_run_could_not_say_so(self):
        for status in (75, 137, 143, 205):
            (self.run_folder / "attempts.json").unlink(missing_ok=True)
            self.expect(status, True, FAKE_STATUS=str(status))

    def test_what_an_earlier_start_has_said_does_not_count(self):
        (self.run_folder / "exit.json").write_text('{\n  "status": 65\n}\n')
        self.expect(205, True, FAKE_STATUS="205")
        (self.run_folder / "exit.json").write_text('{\n  "status": 75\n}\n')
        self.expect(65, False, FAKE_STATUS="65")

    def test_no_job_that_was_cancelled_or_is_in_the_queue_already(self):
        for state in ("COMPLETING", "CANCELLED", "PENDING", ""):
            self.expect(75, False, FAKE_STATUS="75", FAKE_WRITES="75", FAKE_STATE=state)

    def test_no_run_that_was_killed_for_memory_on_any_host(self):
        said = "slurmstepd: error: Detected 2 oom_kill events in StepId=12.1"
        self.expect(137, False, FAKE_STATUS="137", FAKE_SAYS=said)

    def test_no_run_that_was_killed_for_memory_here(self):
        self.expect(137, False, FAKE_STATUS="137", FAKE_KILLED="2")

    def test_no_other_command_and_no_run_without_a_folder(self):
        done = self.start("slurm/srun.sh", "eval", f"--output.dir={self.run_folder}", FAKE_STATUS="137")
        self.assertEqual((done.returncode, self.requeued()), (137, []))
        done = self.start("slurm/srun.sh", "train", FAKE_STATUS="137")
        self.assertEqual((done.returncode, self.requeued()), (137, []))

    def test_a_run_that_was_lost_before_it_had_a_folder(self):
        self.run_folder.rmdir()
        for requeued in (True, True, True, False):
            self.expect(137, requeued, FAKE_STATUS="137")
        self.assertEqual([path.name for path in self.run_folder.iterdir()], ["attempts.json"])

    def test_three_starts_without_progress_are_the_most(self):
        for _ in range(2):
            self.expect(75, True, FAKE_STATUS="75", FAKE_SAVES="4")
            for count in (1, 2, 3):
                self.expect(75, True, FAKE_STATUS="75")
                attempts = json.loads((self.run_folder / "attempts.json").read_text())
                self.assertEqual(attempts, {"count": count, "last_step": 4})
            self.assertIn("no step after step 4", self.expect(75, False, FAKE_STATUS="75"))
            for name in ("checkpoints/step-4", "checkpoints"):
                (self.run_folder / name).rmdir()
            (self.run_folder / "attempts.json").unlink()

    def test_progress_begins_the_count_anew(self):
        for step in (9, 10, 11, 12, 100):  # as numbers
            self.expect(75, True, FAKE_STATUS="75", FAKE_SAVES=str(step))
            self.expect(75, True, FAKE_STATUS="75")

    def test_one_task_of_an_array_by_its_own_name(self):
        (self.folder / "runs").write_text(f"--train.seed=1\n--train.seed=2 --output.dir={self.run_folder}\n")
        done = self.start("slurm/array.sh", self.folder / "runs", "train", "--config=none", FAKE_STATUS="75",
                          SLURM_ARRAY_JOB_ID="12", SLURM_ARRAY_TASK_ID="2", FAKE_END="2100-01-01T00:00:00")
        self.assertEqual((done.returncode, self.requeued()), (75, ["12_2"]), done.stdout)
        self.assertIn("show job 12_2", self.lines("scontrol"))
        self.assertEqual(self.lines("squeue"), ["-h -j 12_2 -o %e"])
        self.assertIn("--train.seed=2", self.lines("words"))

    def test_a_line_that_an_array_has_not(self):
        (self.folder / "runs").write_text("--train.seed=1\n")
        done = self.start("slurm/array.sh", self.folder / "runs", "train", SLURM_ARRAY_TASK_ID="2")
        self.assertEqual(done.returncode, 64)
        self.assertIn("line 2 is not there", done.stdout)


class Words(Requeue):
    def words(self, *given, **more):
        self.train(*given, **more)
        return self.lines("words")[2:]

    def test_the_time_limit_of_the_job_becomes_the_runs(self):
        limit = {"FAKE_END": "2100-01-01T00:00:00"}
        self.assertEqual(self.words(**limit), [f"--train.stop_at={4102444800 - 15}"])
        self.assertEqual(self.words("--train.stop_at=7", **limit), ["--train.stop_at=7"])

    def test_no_time_limit(self):
        for end in ("N/A", "NONE", "", "1999-01-01T00:00:00"):
            self.assertEqual(self.words(FAKE_END=end), [])

    def test_only_training_knows_of_time(self):
        self.start("slurm/srun.sh", "eval", FAKE_END="2100-01-01T00:00:00")
        self.assertEqual(self.lines("words"), ["eval"])

    def test_a_job_that_starts_again_continues(self):
        asked, again = ["--output.overwrite=true", "--output.resume=never"], {"SLURM_RESTART_COUNT": "1"}
        self.assertEqual(self.words(*asked, **again), asked)  # nothing was saved: nothing to continue
        (self.run_folder / "checkpoints/step-3").mkdir(parents=True)
        self.assertEqual(self.words(*asked), asked)  # the first start does as it is told
        self.assertEqual(self.words(*asked, **again), ["--output.overwrite=false", "--output.resume=auto"])


class Signals(Requeue):
    def test_each_of_them_lets_the_run_save(self):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored here is ignored by what we start
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            for name in ("waits", "signals", "scontrol", "run/attempts.json"):  # three starts without a step are the most
                (self.folder / name).unlink(missing_ok=True)
            command = ["bash", LAUNCH / "slurm/mpirun.sh", "train", f"--output.dir={self.run_folder}"]
            script = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env=self.environment(FAKE_STATUS="1", FAKE_WAITS="1"))
            while not (self.folder / "waits").exists():
                time.sleep(0.01)
            script.send_signal(number)
            self.assertEqual(script.wait(30), 75)
            self.assertEqual(self.lines("signals"), ["USR1"])
            self.assertEqual(self.requeued(), ["12"])


class Launchers(Requeue):
    def launched(self, script, **more):
        self.train(script=script, **more)
        return self.lines("launched")[-1]

    def test_srun_ends_all_ranks_with_one_and_hides_no_device(self):
        said = self.launched("slurm/srun.sh")
        self.assertIn("srun --mpi=pmix --kill-on-bad-exit=1 --gpu-bind=none", said)

    def test_mpirun_gives_each_rank_cores_of_its_own(self):
        self.assertIn("--map-by slot:PE=4 --bind-to core -np 4 ", self.launched("slurm/mpirun.sh"))
        self.assertIn("--map-by slot:PE=2 ", self.launched("slurm/mpirun.sh", FAKE_THREADS="2"))

    def test_ranks_share_cores_only_where_that_was_asked(self):
        many = {"SLURM_NTASKS_PER_NODE": "9"}
        done = self.train(script="slurm/mpirun.sh", **many)
        self.assertEqual(done.returncode, 64)
        self.assertIn("9 ranks on a host with 8 cores", done.stdout)
        self.assertIn("--bind-to none", self.launched("slurm/mpirun.sh", SLURM_OVERCOMMIT="1", **many))

    def test_both_open_mpis_are_told_in_their_words_to_notice_a_cut_link(self):
        for version, option in (("4.1.4", "--mca"), ("5.0.8", "--prtemca")):
            launched = self.launched("slurm/mpirun.sh", FAKE_MPI=version)
            for name, value in (("time", 2), ("intvl", 1), ("probes", 3)):
                self.assertIn(f" {option} oob_tcp_keepalive_{name} {value} ", launched)


if __name__ == "__main__":
    unittest.main()
