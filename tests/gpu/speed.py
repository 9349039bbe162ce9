"""Speed and memory at the 8B shape: bench_train beside its floor, DoRA beside LoRA, and PEFT's on the same device after it.

Random frozen weights, sequences of 4,096 tokens, r = 16, all linear layers, bfloat16. Each measurement is a process of
its own; the first one loads the device for a minute. Model FLOP/s utilisation: 4 FLOPs a weight and token and 7 layers
width length^2 a sequence, over the device's dense bfloat16 peak of the data sheet.
"""
import json
import shutil
import statistics
import sys

from context import ROOT

sys.path.insert(0, str(ROOT / "tests/bench"))
import measuring

PEAK_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12, "B200": 2250e12}
OUT_OF_MEMORY = 71
RANK = 16


class Settings:
    """The real ones, and tiny ones that rehearse the same code where there is no device."""

    def __init__(self, rehearsal):
        self.shape, self.length = ("260K", 32) if rehearsal else ("8B", 4096)
        self.micro_batches = [2 * self.length, 4 * self.length]  # 8,192 and 16,384 tokens
        self.sequences = 4                                       # of a step: two micro-batches, or one
        self.steps, self.minute, self.again = (2, 0.2, 0.1) if rehearsal else (7, 60, 6)
        self.backend, self.dtype = ("cpu", "float32") if rehearsal else ("cuda", "bfloat16")
        self.peft_most, self.peft_steps = (2, 1) if rehearsal else (4, 4)


def cases(settings):
    """(method, micro-batch tokens, deterministic): DoRA and LoRA of a kind one after the other."""
    small, large = settings.micro_batches
    return [("dora", large, False), ("lora", large, False), ("dora", small, False), ("lora", small, False),
            ("dora", large, True), ("dora", small, True)]


def name_of(case):
    method, tokens, deterministic = case
    return f"{method}, micro-batches of {tokens} tokens" + (", deterministic" if deterministic else "")


def bench_words(program, settings, case, warmup):
    method, tokens, deterministic = case
    words = [program, "--shape", settings.shape, "--backend", settings.backend, "--dtype", settings.dtype, "--method",
             method, "--rank", RANK, "--length", settings.length, "--sequences", settings.sequences,
             "--micro-batch-tokens", tokens, "--steps", settings.steps, "--warmup-seconds", warmup]
    return words + (["--deterministic"] if deterministic else [])


def run_bench(context, report, settings, case, warmup):
    """bench_train's object, or None with the reason in the report."""
    program, name = context.program("bench_train"), name_of(case)
    done = context.run(bench_words(program, settings, case, warmup), f"bench-{name.replace(' ', '-').replace(',', '')}",
                       warmup + 90)
    if done.status == OUT_OF_MEMORY:
        return report.skipped("speed", name, f"does not fit this device: {done.errors.strip().splitlines()[-1]}")
    if done.timed_out and context.remaining() < 5:
        return report.skipped("speed", name, "no time left")
    if done.status != 0:
        return report.failed("speed", name, done.why())
    return json.loads(done.output.splitlines()[-1])


def tell(report, settings, case, found, peak_flops):
    name, goal = name_of(case), None
    if case[0] == "dora":
        goal = "share_of_floor_deterministic" if case[2] else "share_of_floor"
    report.figure("speed", f"{name}: share of the floor", found["share_of_floor"]["median"], goal=goal)
    report.figure("speed", f"{name}: speed", found["tokens_per_second"]["median"], "tokens/s")
    report.figure("speed", f"{name}: floor", found["floor_tokens_per_second"], "tokens/s")
    report.figure("speed", f"{name}: model FLOP/s", found["model_gflops"]["median"] / 1e3, "TFLOP/s")
    if peak_flops:
        report.figure("speed", f"{name}: utilisation", 1e9 * found["model_gflops"]["median"] / peak_flops)
    taken, planned = found["device_bytes"] or found["resident_peak_bytes"], found["planned_bytes"]
    report.figure("memory", f"{name}: taken", taken / 2**30, "GiB")
    report.figure("memory", f"{name}: planned", planned / 2**30, "GiB")
    report.figure("memory", f"{name}: away from the plan", abs(taken / planned - 1), goal="memory_away_from_plan")


def tell_shares(report, found):
    """Where the time of a step goes: phases, and what products and attention take alone."""
    step = found["step_seconds"]["median"]
    for phase, seconds in found["phases"].items():
        report.figure("share of time", f"phase {phase}", 100 * seconds / step, "%")
    layers = found["model"]["layers"]
    micro_batches = found["tokens_per_step"] / found["micro_batch_tokens"]
    for part, seconds in found["floor_parts_seconds"].items():
        if part.startswith("a layer's"):
            report.figure("share of time", f"all layers: {part.removeprefix('a layer' + chr(39) + 's ')}",
                          100 * seconds * layers * micro_batches / step, "%")
    rest = 1 - found["share_of_floor"]["median"]
    report.figure("share of time", "all but base products, head and attention", 100 * rest, "%")


def tell_price_of_dora(report, settings, found):
    for tokens in settings.micro_batches:
        pair = [found.get((method, tokens, False)) for method in ("dora", "lora")]
        if all(pair):
            seconds = [one["step_seconds"]["median"] for one in pair]
            report.figure("speed", f"DoRA's step over LoRA's, micro-batches of {tokens} tokens", seconds[0] / seconds[1],
                          goal="dora_over_lora_seconds")


def peft(context, report, settings, method):
    shape = json.dumps(list(measuring.SHAPES[settings.shape]))
    words = [sys.executable, ROOT / "tests/bench/peft_side.py", "largest", shape, method, f"--rank={RANK}",
             f"--length={settings.length}", f"--most={settings.peft_most}", f"--steps={settings.peft_steps}",
             f"--device={settings.backend}"] + (["--untied"] if settings.shape in measuring.UNTIED else [])
    done = context.run(words, f"peft-{method}", 120, PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True")
    name = f"PEFT's {method}"
    if done.status != 0:
        missing = "ModuleNotFoundError" in done.errors
        return (report.skipped if missing or context.remaining() < 5 else report.failed)("PEFT", name, done.why())
    found = json.loads(done.output.splitlines()[-1])
    found["tokens_per_second"] = statistics.median(s["tokens"] / s["seconds"] for s in found["steps"])
    how = f"{found['batch']} x {found['length']} tokens, {found['attention'].lower()}"
    how += ", checkpointed" if found["checkpointed"] else ""
    report.figure("PEFT", f"{name}: speed, {how}", found["tokens_per_second"], "tokens/s")
    report.figure("PEFT", f"{name}: memory reserved", found["peak_memory_bytes"] / 2**30, "GiB")
    return found


def compare_with_peft(report, settings, found, theirs):
    for case, one in found.items():
        for method, their in theirs.items():
            if case[2] or not their:
                continue
            goal = "over_pefts_dora" if case[0] == method == "dora" and case[1] == settings.micro_batches[-1] else None
            report.figure("PEFT", f"{name_of(case)}, over PEFT's {method}",
                          one["tokens_per_second"]["median"] / their["tokens_per_second"], "x", goal=goal)


def by_kernel(context, report, settings, case):
    """Shares of the device's time by kernel, from Nsight Systems where it is installed."""
    if not shutil.which("nsys"):
        return report.skipped("share of time", "by kernel", "nsys is not installed here; see phases and parts")
    trace = context.out / "bench"
    words = bench_words(context.program("bench_train"), settings, case, 0)
    context.run(["nsys", "profile", "--trace=cuda", "--force-overwrite=true", f"--output={trace}", *words], "nsys", 120)
    done = context.run(["nsys", "stats", "--report=cuda_gpu_kern_sum", "--format=csv", f"{trace}.nsys-rep"], "nsys-stats", 60)
    rows = [line.split(",") for line in done.output.splitlines() if line[:1].isdigit()]
    if not rows:
        return report.skipped("share of time", "by kernel", f"nsys made no report: {done.why()}")
    for row in rows[:15]:  # share, total time, …, the kernel's name, which may hold commas
        report.figure("share of time", f"kernel {','.join(row[8:])[:100]}", float(row[0]), "%")


def speed(context, report, rehearsal, device):
    settings, found = Settings(rehearsal), {}
    if not context.program("bench_train"):
        return report.skipped("speed", "all", f"bench_train is not in {context.build}")
    peak_flops = next((f for name, f in PEAK_FLOPS.items() if device and name in device["name"]), None)
    warmup = settings.minute
    theirs = {}
    for number, case in enumerate(cases(settings)):
        one = run_bench(context, report, settings, case, warmup)
        if one:
            found[case], warmup = one, settings.again
            report.keep(f"bench_train: {name_of(case)}", one)
            tell(report, settings, case, one, peak_flops)
        if number == 3:  # before the deterministic ones: a comparison matters more than they do where time is short
            theirs = {method: peft(context, report, settings, method) for method in ("dora", "lora")}
    tell_price_of_dora(report, settings, found)
    for method, one in theirs.items():
        report.keep(f"PEFT: {method}", one)
    compare_with_peft(report, settings, found, theirs)
    for case in cases(settings)[:3:2]:
        if case in found:
            tell_shares(report, found[case])
            return by_kernel(context, report, settings, case)
