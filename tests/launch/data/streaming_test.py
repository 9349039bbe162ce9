"""Files larger than memory and several processes: the same bytes, bounded memory, no process left behind."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest

import tiny
from tiny import Case


def records(count):
    return [{"prompt": f"question {k % 300}", "completion": " the ok" * (k % 9)} for k in range(count)]


@tiny.needs_packages
class Processes(Case):
    def test_one_and_three_processes_write_the_same_files(self):
        tokenizer = self.tokenizer()
        path = self.file("a.json", json.dumps(records(2000)))
        written = []
        for processes in ("1", "3"):
            result = self.prepared(
                tokenizer, path, "completion", "--eval-fraction", "0.1", "--drop-duplicates", "--processes", processes
            )
            written.append([(self.folder / name).read_bytes() for name in ("out.safetensors", "out.eval.safetensors")])
            self.assertGreater(result["duplicates"], 100)
            self.assertGreater(result["dropped_empty"], 100)
        self.assertTrue(written[0] == written[1])

    def test_a_bad_record_is_refused_by_the_first_in_the_file_whatever_the_processes(self):
        lines = [json.dumps(record) for record in records(3000)]
        lines[900] = lines[2500] = "{"
        path = self.file("a.jsonl", "\n".join(lines))
        self.refused(65, "line 901: not JSON", self.tokenizer(), path, "completion", "--processes", "3")

    def test_a_worker_that_dies_ends_the_run_with_a_word(self):
        from shardora.data import workers
        from shardora.errors import Error

        with self.assertRaisesRegex(Error, "a worker process died"):
            list(workers.ordered(lambda _: os.kill(os.getpid(), signal.SIGKILL), iter(range(9)), 2))

    def test_batches_are_taken_as_they_are_needed(self):
        from shardora.data import workers

        taken = []

        def batches():
            for k in range(40):
                taken.append(k)
                yield k

        results = workers.ordered(abs, batches(), 2)
        self.assertEqual(next(results), 0)
        self.assertLessEqual(len(taken), 6)
        self.assertEqual(list(results), list(range(1, 40)))


@tiny.needs_packages
class Memory(Case):
    SCRIPT = (
        "import resource, sys; from shardora import commands; status = commands.prepare(); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(status)"
    )

    def peak(self, path, *more):
        """KiB of memory of a run in a process of its own."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                self.SCRIPT,
                "--tokenizer",
                str(self.folder / "tokenizer"),
                "--input",
                str(path),
                "--format",
                "text",
                "--output",
                str(self.output),
                "--processes",
                "1",
                *more,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(done.stderr.split()[-1])

    def test_memory_does_not_grow_with_the_file(self):
        self.tokenizer()
        text = "the ok " * 300
        small, large = self.folder / "small.json", self.folder / "large.json"
        small.write_text(json.dumps([{"text": text}] * 100), "utf-8")
        with open(large, "w", encoding="utf-8") as file:  # 17 MB, which as Python's lists of tokens are far more
            file.write("[" + ",".join([json.dumps({"text": text})] * 8000) + "]")
        growth = self.peak(large) - self.peak(small)
        self.assertLess(growth, 24 * 1024, "KiB")

    def test_a_line_of_a_gigabyte_is_refused_at_once(self):
        self.tokenizer()
        path = self.folder / "a.jsonl"
        with open(path, "wb") as file:
            file.write(b'{"text": "')
            file.truncate(1 << 30)
        begin = time.monotonic()
        self.refused(65, "line 1: longer than 8388608 bytes", self.folder / "tokenizer", path, "text")
        self.assertLess(time.monotonic() - begin, 5)


@tiny.needs_packages
class Interrupted(Case):
    def setUp(self):
        super().setUp()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background may have it ignored

    def run_until(self, signal_number, send):
        """(status, output, errors) of a run that a signal ends."""
        tokenizer = self.tokenizer()
        path = self.folder / "pipe.jsonl"  # a pipe that never ends, so that the run is under way when the signal comes
        os.mkfifo(path)
        run = subprocess.Popen(
            [
                tiny.COMMANDS / "shardora-prepare",
                "--tokenizer",
                tokenizer,
                "--input",
                path,
                "--format",
                "text",
                "--output",
                self.output,
                "--processes",
                "2",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(run.kill)
        with open(path, "w", encoding="utf-8") as pipe:
            pipe.write('{"text": "ok"}\n' * 2000)
            pipe.flush()
            send(run.pid, signal_number)
            output, errors = run.communicate(timeout=60)
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir()), ["pipe.jsonl", "tokenizer"])
        return run.returncode, output, errors

    def test_signals_end_the_run_with_one_line_and_leave_nothing(self):
        said = "shardora-prepare: interrupted; nothing was written\n"
        self.assertEqual(self.run_until(signal.SIGTERM, os.kill), (128 + signal.SIGTERM, "", said))

    def test_the_terminals_interrupt_reaches_all_processes_and_one_speaks(self):
        said = "shardora-prepare: interrupted; nothing was written\n"
        self.assertEqual(self.run_until(signal.SIGINT, os.killpg), (128 + signal.SIGINT, "", said))


if __name__ == "__main__":
    unittest.main()
