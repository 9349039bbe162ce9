"""Plants bugs, one at a time, and asks which test notices.

    python3 tests/mutations/plant.py [--list | --check | --leave NAME] [--only WORD…] [--again] [--work FOLDER]
                                     [--results FILE]

Each bug of bugs.py is a text that must stand exactly once in its file (spaces and line ends aside), and what replaces
it. The tree is copied, built once and tested without any bug; then for each bug: plant it, build and run first the tests
that it is expected to break and then, where they pass, all others (but not label `long`), up to the first failure, and
take it out again. A bug that does not compile, a text that is not found once and a bug that no test notices are failures of this
program (exit 1).

Results are kept in FOLDER/results.json after every bug; a bug whose text and file have not changed is not planted again
unless --again says so. --results writes the table as Markdown. --leave builds the program with one bug in it and says
where it is, for comparisons that are too long for the tests.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from bugs import BUGS

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1",
                                OMP_WAIT_POLICY="passive", OMPI_MCA_mpi_yield_when_idle="1",
                                OMPI_MCA_btl_vader_single_copy_mechanism="none")


def place_of(bug):
    """The bug's text, wherever a formatter breaks its lines."""
    return re.compile(r"\s+".join(re.escape(word) for word in bug.text.split()))


def stale(bugs):
    """Bugs whose text is not found exactly once: the table must stay current."""
    faults = []
    for bug in bugs:
        path = ROOT / bug.file
        count = len(place_of(bug).findall(path.read_text())) if path.exists() else 0
        if count != 1:
            faults.append(f"{bug.name}: its text stands {count} times in {bug.file}, expected once")
        elif bug.text == bug.planted:
            faults.append(f"{bug.name}: changes nothing")
    names = [bug.name for bug in bugs]
    return faults + [f"{name}: two bugs of this name" for name in sorted(set(names)) if names.count(name) > 1]


class Copy:
    """A copy of the tree with a build of its own."""

    def __init__(self, folder):
        self.source, self.build = folder / "source", folder / "build"
        self.source.mkdir(parents=True, exist_ok=True)

    def refresh(self):
        """Only files that differ are written, so that only what changed is built again."""
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                                text=True, check=True).stdout.splitlines()
        for name in listed:
            if (ROOT / name).is_file():
                self.write(name, (ROOT / name).read_bytes())
        for path in self.source.rglob("*"):
            if path.is_file() and str(path.relative_to(self.source)) not in set(listed):
                path.unlink()

    def write(self, name, content):
        path = self.source / name
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod((ROOT / name).stat().st_mode)

    def compile(self, target="all"):
        """Empty where it succeeds, else what the compiler said."""
        if not (self.build / "build.ninja").exists():
            subprocess.run(["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                            "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DCMAKE_CXX_FLAGS=-w"], check=True,
                           stdout=subprocess.DEVNULL)
        done = subprocess.run(["cmake", "--build", self.build, "--target", target], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]

    def first_failure(self, only=None, without=()):
        """The name of the first test that fails; None where all pass."""
        words = ["ctest", "--test-dir", self.build, "-LE", "long", "-E", "|".join(["mutations", "live_peft", *without]),
                 "-j", "2", "--stop-on-failure", "--timeout", "300"]
        done = subprocess.run(words + (["-R", only] if only else []), capture_output=True, text=True, env=ENVIRONMENT)
        failed = re.findall(r"Test +#\d+: (\S+).*\*\*\*(?!Not Run|Skipped)", done.stdout)  # before its parameter
        if failed:
            return failed[0]
        if done.returncode or "No tests were found" in done.stdout + done.stderr:
            sys.exit(f"ctest {only or ''}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return None

    def first_real_failure(self):
        """As first_failure of all tests, but a test that passes when it is asked again had another reason to fail."""
        chance = []
        while failed := self.first_failure(without=chance):
            alone = "^" + re.escape(failed) + "( |$)"
            if self.first_failure(alone):
                break
            chance.append(alone)
        return failed


def key_of(bug):
    text = (ROOT / bug.file).read_text() + bug.text + bug.planted
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def program_of(tests):
    """The one program that these tests need, where a single one has them: linking all of them takes longer than a test."""
    if tests.startswith("Golden"):
        return "parity_test"  # and, through it, shardora
    return "training_mpi_test" if tests == "training" else "all"


def plant(copy, bug):
    original = (ROOT / bug.file).read_text()
    copy.write(bug.file, place_of(bug).sub(lambda _: bug.planted, original).encode())
    try:
        if said := copy.compile(program_of(bug.tests)):
            return dict(noticed="(does not compile)", said=said)
        if noticed := copy.first_failure(bug.tests):
            return dict(noticed=noticed)
        if said := copy.compile():
            return dict(noticed="(does not compile)", said=said)
        return dict(noticed=copy.first_real_failure())
    finally:
        copy.write(bug.file, original.encode())


def leave(copy, bug):
    """The program with this bug in it; the next campaign takes the bug out again."""
    copy.write(bug.file, place_of(bug).sub(lambda _: bug.planted, (ROOT / bug.file).read_text()).encode())
    said = copy.compile("shardora")
    print(said or copy.build / "shardora")
    return 1 if said else 0


def table(bugs, results):
    lines = ["| invariant | planted bug | file | first test that fails |", "| --- | --- | --- | --- |"]
    for bug in bugs:
        noticed = results.get(bug.name, {}).get("noticed", "(not planted yet)") or "**none: it survives**"
        lines.append(f"| {bug.guards} | {bug.name} | `{bug.file}` | {noticed} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the bugs and stop")
    parser.add_argument("--check", action="store_true", help="only see whether every text still stands once in its file")
    parser.add_argument("--leave", metavar="NAME", help="build the program with this bug in it, and say where it is")
    parser.add_argument("--only", nargs="*", help="bugs whose name or file contains one of these words")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "shardora-mutations")
    parser.add_argument("--results", type=pathlib.Path)
    arguments = parser.parse_args()
    bugs = [b for b in BUGS if not arguments.only or any(word in b.name or word in b.file for word in arguments.only)]
    if arguments.list:
        print("\n".join(f"{b.guards:14} {b.name} ({b.file})" for b in bugs))
        return 0
    faults = stale(bugs)
    print("\n".join(faults) or f"{len(bugs)} bugs, each text stands once in its file")
    if faults or arguments.check:
        return 1 if faults else 0

    copy = Copy(arguments.work)
    copy.refresh()
    if arguments.leave:
        return leave(copy, next(bug for bug in BUGS if bug.name == arguments.leave))
    said = copy.compile()
    if said:
        print(f"the tree without any bug does not build:\n{said}")
        return 1
    kept = arguments.work / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = [b for b in bugs if arguments.again or results.get(b.name, {}).get("key") != key_of(b)]
    if wanted and (failure := copy.first_real_failure()):
        print(f"the tree without any bug fails {failure}")
        return 1
    for number, bug in enumerate(wanted, 1):
        results[bug.name] = plant(copy, bug) | dict(key=key_of(bug))
        kept.write_text(json.dumps(results, indent=1))
        print(f"[{number}/{len(wanted)}] {bug.name}: {results[bug.name]['noticed'] or 'SURVIVES'}", flush=True)
    if arguments.results:
        arguments.results.write_text(table(bugs, results))
    bad = [b.name for b in bugs if results[b.name]["noticed"] in (None, "(does not compile)")]
    print(f"{len(bugs) - len(bad)} of {len(bugs)} bugs noticed" + "".join(f"\nNOT NOTICED: {name}" for name in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
