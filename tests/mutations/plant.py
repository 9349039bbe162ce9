"""Plants bugs, one at a time, and asks which test notices.

    python3 tests/mutations/plant.py [--list | --check | --leave NAME] [--only WORD…] [--again] [--work FOLDER]
                                     [--results FILE]

Each bug of bugs.py is a text that must be found exactly once in the function that it names, and what replaces it. The tree
is copied, built once and tested without any bug; then for each bug: plant it, build and run first the tests that it is
expected to break, with the programs that they need, and then, where they pass, all others (but not label `long`), up to
the first failure, and take it out again. A bug that does not compile, a text that is not found once and a bug that no test
notices are failures of this program (exit 1).

Results are kept in FOLDER/results.json after every bug, so that a campaign that was stopped goes on where it was: a bug
that was noticed is planted again only where its function or itself has changed, or --again says so. --results writes the
table as Markdown. --leave builds the program with one bug in it and says where it is, for comparisons that are too long for
the tests.
"""
import argparse
import ast
import collections
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from bugs import BUGS

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1",
                                OMP_WAIT_POLICY="passive", OMPI_MCA_mpi_yield_when_idle="1",
                                OMPI_MCA_btl_vader_single_copy_mechanism="none")

# C++ by its braces: no compiler is asked, since the text must be found in sources of other devices, too.
NO_FUNCTIONS = {"if", "for", "while", "switch", "catch", "return", "sizeof", "alignas", "decltype", "noexcept", "constexpr",
                "requires", "defined", "__device__"}
LITERAL = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'', re.S)
HEAD = re.compile(r"\b(?:class|struct|union)\s+(\w+)(?:\s*<[^;{}()]*>)?(?:\s+final)?\s*(?::(?!:)[^;{}()]*)?\{"
                  r"|((?:\w+::)*(?:operator *(?:\(\)|[^\s\w(]+|\w+)|~?\w+))\s*\(")
TAIL = re.compile(r"(?:\s*(?:const|noexcept(?:\([^()]*\))?|override|final|mutable|&&?|->[^;{}()=]+))*\s*")
INITIALISER = re.compile(r"[:,]\s*[\w:]+(?:<[^;{}()]*>)?\s*(?=[({])")
TOKEN = re.compile(r'\.\.\.|"(?:\\.|[^"\\])*"|\w+|::|->|\+\+|--|&&|\|\||<<|>>|[-+*/%=!<>|&^]=|[^\w\s]')


def without_literals(text, strings=True):
    """The text at the same offsets, with blanks for its comments and, where asked, its strings."""
    return LITERAL.sub(lambda found: found[0] if found[0][0] != "/" and not strings else
                       re.sub(r"[^\n]", " ", found[0]), text)


def definitions(text):
    """The functions, classes and structs of a C++ source, as (name, begin, end); a method is Class::method."""
    text = without_literals(text)
    closes, opened = {}, {"(": [], "{": []}
    for at in re.finditer(r"[(){}]", text):
        if at[0] in opened:
            opened[at[0]].append(at.start())
        elif pending := opened["(" if at[0] == ")" else "{"]:
            closes[pending.pop()] = at.start()
    found, classes, signature = [], [], 0  # where the last signature ends: what its initialisers call is no function
    for head in HEAD.finditer(text):
        name, body = head[1] or head[2], head.end() - 1
        if head.start() < signature or name in NO_FUNCTIONS:
            continue
        if head[2]:
            body = TAIL.match(text, closes.get(body, body) + 1).end()
            while member := INITIALISER.match(text, body):
                body = closes.get(member.end(), len(text)) + 1
                body += len(text[body:]) - len(text[body:].lstrip())
        if text[body:body + 1] == "{" and body in closes:
            signature = body
            outer = [a_class for a_class, end in classes if end > head.start()]
            found.append(("::".join([*outer, name]), head.start(), closes[body] + 1))
            if head[1]:
                classes.append((name, closes[body]))
    return found


def python_definitions(text):
    starts = [0, *(line.end() for line in re.finditer(r"\n", text)), len(text)]
    return [(node.name, starts[node.lineno - 1], starts[node.end_lineno]) for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def expression(text):
    """Of a bug's text: any blanks between its words and operators, and a group for each `...`."""
    source = ""
    for token in TOKEN.findall(text):
        source += r"\s*" if source else ""
        if token == "...":
            source += r"((?:[^\s;{}][^;{}]*?)?)"
        elif re.fullmatch(r"\w+", token):
            source += rf"\b{token}\b"
        elif token in "=:&|+-<>!":  # not a part of a longer operator
            source += rf"(?<!{re.escape(token)}){re.escape(token)}(?![{re.escape(token)}=])"
        else:
            source += re.escape(token)
    return re.compile(source)


class Sources:
    """What bugs are planted in, and what is defined there."""

    def __init__(self):
        self.texts, self.searched, self.defined = {}, {}, collections.defaultdict(list)
        paths = (path for folder in ("kernels", "runtime", "launch") for path in (ROOT / folder).rglob("*"))
        for path in [ROOT / "CMakeLists.txt", *sorted(paths)]:
            if path.suffix in (".cc", ".h", ".cu", ".cuh", ".py", ".cmake", ".txt"):
                text = self.texts[path] = path.read_text()
                cpp = path.suffix not in (".py", ".cmake", ".txt")
                self.searched[path] = without_literals(text, strings=False) if cpp else text
                find = definitions if cpp else python_definitions if path.suffix == ".py" else lambda _: []
                for name, begin, end in find(text):
                    self.defined[name.split("::")[-1]].append((name, path, begin, end))

    def bodies(self, where):
        """(path, begin, end) of all that has this name."""
        stem, name = re.fullmatch(r"(?:(\w+):(?!:))?(.*)", where).groups()
        if not name:
            return [(path, 0, len(text)) for path, text in self.texts.items() if path.stem == stem]
        return [(path, begin, end) for full, path, begin, end in self.defined[name.split("::")[-1]]
                if f"::{full}".endswith(f"::{name}") and stem in (None, path.stem)]

    def find(self, bug):
        """Where its text stands, as {(path, begin): match}."""
        wanted = expression(bug.text)
        return {(path, match.start()): match for path, begin, end in self.bodies(bug.where)
                for match in wanted.finditer(self.searched[path], begin, end)}

    def place(self, path, at):
        return f"{path.relative_to(ROOT)}:{self.texts[path].count(chr(10), 0, at) + 1}"

    def fault(self, bug):
        """What keeps the bug from being planted, if anything."""
        bodies = self.bodies(bug.where)
        if not bodies:
            return f"there is no {bug.where}; name the function that has `{bug.text}` now"
        found = self.find(bug)
        places = ", ".join(self.place(path, at) for path, at in found)
        if len(found) > 1:
            return f"`{bug.text}` stands {len(found)} times in {bug.where} ({places}); make it longer, or name the class"
        if found:
            return "changes nothing" if self.planted(bug)[1] == self.texts[next(iter(found))[0]] else None
        tokens = TOKEN.findall(bug.text)
        longest = next(n for n in range(len(tokens), -1, -1)
                       if n == 0 or any(expression(" ".join(tokens[:n])).search(self.searched[path], begin, end)
                                        for path, begin, end in bodies))
        places = ", ".join(self.place(path, begin) for path, begin, _ in bodies[:3]) + (", …" if len(bodies) > 3 else "")
        after = f" after `{''.join(tokens[:longest])}`" if longest else ""
        return f"{bug.where} ({places}) has no `{bug.text}`: `{tokens[longest]}` is missing{after}"

    def planted(self, bug):
        """(path, text with the bug in it)"""
        ((path, begin), match), = self.find(bug).items()
        text = self.texts[path]
        kept = iter([text[slice(*match.span(group + 1))] for group in range(match.re.groups)])
        return path, text[:begin] + re.sub(r"\.\.\.", lambda _: next(kept), bug.planted) + text[match.end():]

    def key(self, bug):
        """Of what matters for the bug: the function that it is in, and itself."""
        (path, at), = self.find(bug)
        begin, end = min(((begin, end) for other, begin, end in self.bodies(bug.where) if other == path and begin <= at < end),
                         key=lambda span: span[1] - span[0])
        return hashlib.sha256("\0".join([self.texts[path][begin:end], bug.text, bug.planted]).encode()).hexdigest()[:16]


class Copy:
    """A copy of the tree with a build of its own."""

    def __init__(self, folder):
        self.source, self.build = folder / "source", folder / "build"
        self.source.mkdir(parents=True, exist_ok=True)
        self.needs = {}  # by a bug's tests

    def refresh(self):
        """Only files that differ are written, so that only what changed is built again. Returns a key of the whole tree."""
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                                text=True, check=True).stdout.splitlines()
        listed = {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}
        for name, content in listed.items():
            self.write(name, content)
        for path in self.source.rglob("*"):
            if path.is_file() and str(path.relative_to(self.source)) not in listed:
                path.unlink()
        return hashlib.sha256(b"\0".join(text for name in sorted(listed) for text in (name.encode(), listed[name]))).hexdigest()

    def write(self, name, content):
        path = self.source / name
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod((ROOT / name).stat().st_mode)

    def compile(self, targets=("all",)):
        """Empty where it succeeds, else what the compiler said."""
        if not (self.build / "build.ninja").exists():
            subprocess.run(["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                            "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DCMAKE_CXX_FLAGS=-w"], check=True,
                           stdout=subprocess.DEVNULL)
        done = subprocess.run(["cmake", "--build", self.build, "--target", *targets], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]

    def ctest(self, only, without, *words):
        words = ["ctest", "--test-dir", self.build, "-LE", "long", "-E", "|".join(["mutations", "live_peft", *without]), *words]
        return subprocess.run(words + (["-R", only] if only else []), capture_output=True, text=True, env=ENVIRONMENT)

    def expected(self, tests):
        """[(programs, names)]: these tests by the programs that they need, those of most tests first. Building everything
        takes longer than most tests."""
        if tests not in self.needs:
            outputs = subprocess.run(["ninja", "-C", self.build, "-t", "targets", "all"], capture_output=True, text=True,
                                     check=True).stdout
            outputs = {line.split(": ")[0] for line in outputs.splitlines()}
            names = collections.defaultdict(list)
            for test in json.loads(self.ctest(tests, (), "--show-only=json-v1").stdout)["tests"]:
                words = {os.path.relpath(word, self.build) for word in test["command"] if word.startswith("/")}
                names[tuple(sorted(words & outputs)) or ("all",)].append(test["name"])
            if not names:
                sys.exit(f"no test is called {tests}")
            self.needs[tests] = sorted(names.items(), key=lambda item: -len(item[1]))
        return self.needs[tests]

    def first_failure(self, only=None, without=()):
        """The name of the first test that fails; None where all pass."""
        done = self.ctest(only, without, "-j", "2", "--stop-on-failure", "--timeout", "300")
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


def plant(copy, sources, bug):
    path, text = sources.planted(bug)
    name = path.relative_to(ROOT)
    copy.write(name, text.encode())
    try:
        for programs, names in copy.expected(bug.tests):
            if said := copy.compile(programs):
                return dict(noticed="(does not compile)", said=said)
            if noticed := copy.first_failure("^(" + "|".join(map(re.escape, names)) + ")$"):
                return dict(noticed=noticed)
        if said := copy.compile():
            return dict(noticed="(does not compile)", said=said)
        return dict(noticed=copy.first_real_failure())
    finally:
        copy.write(name, sources.texts[path].encode())


def leave(copy, sources, bug):
    """The program with this bug in it; the next campaign takes the bug out again."""
    path, text = sources.planted(bug)
    copy.write(path.relative_to(ROOT), text.encode())
    said = copy.compile(["shardora"])
    print(said or copy.build / "shardora")
    return 1 if said else 0


def is_noticed(result):
    return result.get("noticed") not in (None, "(does not compile)")


def table(bugs, results):
    lines = ["| invariant | planted bug | in | first test that fails |", "| --- | --- | --- | --- |"]
    for bug in bugs:
        noticed = results.get(bug.name, {}).get("noticed", "(not planted yet)") or "**none: it survives**"
        lines.append(f"| {bug.guards} | {bug.name} | `{bug.where}` | {noticed} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the bugs and stop")
    parser.add_argument("--check", action="store_true", help="only see whether every text is still found once in its function")
    parser.add_argument("--leave", metavar="NAME", help="build the program with this bug in it, and say where it is")
    parser.add_argument("--only", nargs="*", help="bugs whose name or function contains one of these words")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "shardora-mutations")
    parser.add_argument("--results", type=pathlib.Path)
    arguments = parser.parse_args()
    bugs = [b for b in BUGS if not arguments.only or any(word in b.name or word in b.where for word in arguments.only)]
    sources = Sources()
    if arguments.list:
        for bug in bugs:
            print(f"{bug.guards:14} {bug.name} ({', '.join(sources.place(*at) for at in sources.find(bug)) or bug.where})")
        return 0
    counts = collections.Counter(bug.name for bug in bugs)
    faults = [f"{bug.name}: {fault}" for bug in bugs if (fault := sources.fault(bug))]
    faults += [f"{name}: two bugs of this name" for name, count in counts.items() if count > 1]
    print("\n".join(faults) or f"{len(bugs)} bugs, each text is found once in its function")
    if faults or arguments.check:
        return 1 if faults else 0

    copy = Copy(arguments.work)
    tree = copy.refresh()
    if arguments.leave:
        return leave(copy, sources, next(bug for bug in BUGS if bug.name == arguments.leave))
    if said := copy.compile():
        print(f"the tree without any bug does not build:\n{said}")
        return 1
    kept = arguments.work / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}

    def keep(name, result):
        results[name] = result
        kept.with_suffix(".new").write_text(json.dumps(results, indent=1))
        kept.with_suffix(".new").replace(kept)

    wanted = [bug for bug in bugs if arguments.again or not is_noticed(results.get(bug.name, {}))
              or results[bug.name]["key"] != sources.key(bug)]
    if wanted and results.get("(none)", {}).get("key") != tree:
        if failure := copy.first_real_failure():
            print(f"the tree without any bug fails {failure}")
            return 1
        keep("(none)", dict(key=tree))
    for bug in wanted:  # a test that is not there is better known before the hours than after
        copy.expected(bug.tests)
    begun = time.monotonic()
    for number, bug in enumerate(wanted, 1):
        started = time.monotonic()
        result = plant(copy, sources, bug)
        keep(bug.name, result | dict(key=sources.key(bug), seconds=round(time.monotonic() - started)))
        mean = (time.monotonic() - begun) / number
        print(f"[{number}/{len(wanted)}, {results[bug.name]['seconds']} s, {mean * (len(wanted) - number) / 3600:.1f} h left] "
              f"{bug.name}: {result['noticed'] or 'SURVIVES'}", flush=True)
    if arguments.results:
        arguments.results.write_text(table(bugs, results))
    bad = [bug.name for bug in bugs if not is_noticed(results[bug.name])]
    hours = sum(results[bug.name]["seconds"] for bug in bugs) / 3600
    print(f"{len(bugs) - len(bad)} of {len(bugs)} bugs noticed, {hours:.1f} h",
          *(f"NOT NOTICED: {name}" for name in bad), sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
