"""Every operation on the device against float64 and the CPU's contracts: tests/kernels with SHARDORA_TEST_BACKEND=cuda,
whole, in several processes at once; then a part of them under compute-sanitizer, as long as there is time."""
import json
import re
import shutil

NOT_OF_A_DEVICE = "FastExp*:OneDnn*"  # the CPU's own loops and library
# One test or two of each kernel of our own, at odd sizes; racecheck looks at shared memory alone.
SANITIZED = ["*Attention*", "*CrossEntropy*", "*RmsNorm*", "*Dora*", "AdamW*:*Reduce*", "*Rope*:*Swiglu*",
             "*Elementwise*:*Dropout*", "*Weight*:*Linear*:*Random*"]


def tests_of(path):
    """[(suite.name, result, seconds, messages)] of one of gtest's JSON files."""
    found = []
    for suite in json.loads(path.read_text()).get("testsuites", []):
        for test in suite.get("testsuite", []):
            messages = [m.get("failure", m.get("message", "")) for m in test.get("failures", []) + test.get("skipped", [])]
            result = "FAILED" if test.get("failures") else test.get("result", "COMPLETED")
            found.append(dict(name=f"{suite['name']}.{test['name']}", result=result, backend=test.get("backend", ""),
                              seconds=float(test.get("time", "0s").rstrip("s")), messages=[m[:2000] for m in messages]))
    return found


def run_shards(context, program, count, seconds, threads):
    """Starts all, then waits for each. Returns the tests, and what went wrong outside them."""
    started = []
    for i in range(count):
        path = context.out / f"operations-{i}.json"
        environment = dict(SHARDORA_TEST_BACKEND=context.backend, GTEST_TOTAL_SHARDS=str(count), GTEST_SHARD_INDEX=str(i),
                           GTEST_OUTPUT=f"json:{path}", OMP_NUM_THREADS=str(threads))
        words = [program, f"--gtest_filter=-{NOT_OF_A_DEVICE}"]
        started.append((path, context.start(words, f"operations-{i}", **environment)))
    tests, broken = [], []
    for path, process in started:
        done = context.finish(process, seconds)
        if path.exists():
            tests += tests_of(path)
            path.unlink()
        else:
            last = re.findall(r"^\[ RUN      \] (.*)$", done.output, re.M)[-1:]
            broken.append(f"{' '.join(last)} {done.why()}")
    return tests, broken


def operations(context, report, seconds=150):
    program = context.program("kernels_test")
    if not program:
        return report.skipped("operations", "all", f"kernels_test is not in {context.build}")
    shards = max(1, min(8, context.cores // 2))
    tests, broken = run_shards(context, program, shards, seconds, max(1, context.cores // shards))
    for why in broken:
        report.failed("operations", "a process", why)
    failed = [t for t in tests if t["result"] == "FAILED"]
    report.keep("operations", dict(tests=len(tests), failed=failed, slowest=sorted(tests, key=lambda t: -t["seconds"])[:5],
                                   skipped=[t for t in tests if t["result"] == "SKIPPED"]))
    on_device = [t for t in tests if t["backend"].startswith(context.backend)]
    report.figure("operations", "tests on the device", len(on_device), goal="tests_on_the_device")
    report.figure("operations", "failed tests", len(failed), goal="failed_tests")
    for test in failed[:40]:
        report.failed("operations", test["name"], " ".join(test["messages"])[:300])


def sanitized(context, report, tool, seconds):
    """compute-sanitizer on one group of tests after another until the time is used up."""
    part, end = f"compute-sanitizer {tool}", context.remaining() - seconds
    ran, errors = [], 0
    for group in SANITIZED:
        left = context.remaining() - end
        if left < 5:
            break
        words = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20",
                 context.program("kernels_test"), f"--gtest_filter={group}", "--gtest_brief=1"]
        name = f"{tool}-{len(ran)}"
        done = context.run(words, name, left, SHARDORA_TEST_BACKEND="cuda", OMP_NUM_THREADS="4")
        if done.timed_out:
            report.skipped(part, group, f"cut short after {done.seconds:.0f} s")
            break
        summary = re.findall(r"(?:ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard)", done.output + done.errors)
        if not summary:
            report.failed(part, group, done.why())
            continue
        errors += sum(int(a or b) for a, b in summary)
        if done.status not in (0, 9):  # a test that fails for itself: operations() says so too
            report.failed(part, group, done.why())
        ran.append(group)
    if ran:
        report.figure(part, f"errors in {', '.join(ran)}", errors, goal="sanitizer_errors")
    for group in SANITIZED[len(ran) + 1:] if len(ran) < len(SANITIZED) else []:
        report.skipped(part, group, "no time left")


def sanitizer(context, report):
    if not shutil.which("compute-sanitizer"):
        return report.skipped("compute-sanitizer", "all", "compute-sanitizer is not installed here")
    if not context.program("kernels_test"):
        return report.skipped("compute-sanitizer", "all", f"kernels_test is not in {context.build}")
    sanitized(context, report, "memcheck", min(100, context.remaining() * 0.5))
    sanitized(context, report, "racecheck", min(100, context.remaining() - 5))
