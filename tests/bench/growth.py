"""How a step's time grows, and what DoRA adds to LoRA's: interleaved runs of bench_train, paired ratios, medians.

    python3 tests/bench/growth.py [--only tokens,layers,rank,ranks,methods,levels] [--shape 110M] [--rounds 3] [--steps 3]

tokens, layers, rank   seconds of a step beside what the FLOPs say: products and attention from bench_train, adapters
                       6 r tokens (in + out), and the norm's 2 r in out a module, once a step (at r = 8 it is noise)
ranks                  2 ranks x tensor 2 and 2 x 1 against 1 rank with 2 threads, in tokens/s
methods                DoRA's step over LoRA's: r = 8 at 2,048 tokens a step, r = 64 and 256 at 16,384; the exact norm
                       gradient; the input axis. Allowed: 3 %; 3 % more than detached; 6 %. Beside it, what share of the
                       first one's step its norms' phase takes, which other work on the machine disturbs least
levels                 a step with the loops of each instruction-set level over one with the highest level's

In each round all of a table's runs follow one another; a ratio is of two runs of one round, and the table has the median
of the rounds' ratios, with the least and the largest. Seconds are each run's median step. Other work on the machine only
ever makes a step longer, so "of the best" is the ratio of the shortest steps over all rounds.
"""
import argparse
import statistics

import measuring

TABLES = ("tokens", "layers", "rank", "ranks", "methods", "levels")
LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64")


def bench_train(options, *words, ranks=1):
    command = [options.build / "tests/bench/bench_train", "--shape", options.shape, "--steps", options.steps]
    threads = max(1, options.threads // ranks)
    launcher = ["mpirun", "-q", "-n", ranks, "--oversubscribe", "--bind-to", "none"] if ranks > 1 else []
    return measuring.run(launcher + command + ["--threads", threads, *words], options.prefix)


def rounds_of(options, runs):
    """runs: name to a function that measures. One list of results a name, a round's in a row."""
    results = {name: [] for name in runs}
    for number in range(options.rounds):
        order = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in order:
            results[name].append(runs[name]())
    return results


def step_seconds(result):
    return result["step_seconds"]["median"]


def ratios(results, name, base, value=step_seconds):
    return [value(a) / value(b) for a, b in zip(results[name], results[base])]


def of_the_best(results, name, base):
    shortest = {kind: min(r["step_seconds"]["best"] for r in results[kind]) for kind in (name, base)}
    return shortest[name] / shortest[base]


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def flops(result):
    """Of one step: the model's (bench_train's formula), the adapters' and the norms'."""
    m, rank, tokens = result["model"], result["rank"], result["tokens_per_step"]
    hidden, inner = m["hidden"], m["intermediate"]
    kv = hidden // m["heads"] * m["kv_heads"]
    modules = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, hidden),
               (hidden, inner), (hidden, inner), (inner, hidden)]
    model = result["model_gflops"]["median"] * 1e9 * step_seconds(result)
    adapters = 6 * rank * tokens * m["layers"] * sum(i + o for i, o in modules)
    norms = 2 * rank * m["layers"] * sum(i * o for i, o in modules) if result["method"] == "dora" else 0
    return model + adapters + norms


def growth_table(options, what, values, runs):
    """Rows of one growing size against its first value."""
    results = rounds_of(options, runs)
    base = values[0]
    expected = {v: flops(results[v][0]) / flops(results[base][0]) for v in values}
    rows, table = [], []
    for value in values:
        measured = ratios(results, value, base)
        seconds = statistics.median(step_seconds(r) for r in results[value])
        memory = results[value][0]["planned_bytes"] / 2**20
        rows.append([value, f"{1e3 * seconds:.1f}", f"{expected[value]:.3f}", spread(measured), f"{memory:.0f}"])
        table.append({what: value, "seconds": seconds, "should_be": expected[value],
                      "is": statistics.median(measured), "ratios": measured, "planned_mebibytes": memory})
    print(f"Growth over {what}, {options.shape}, {options.rounds} rounds")
    measuring.print_table([what, "ms a step", "should be", "is", "planned MiB"], rows)
    return table


def tokens_table(options):
    values = [2, 4, 8]  # sequences, so that the attention of each stays what it is
    length = options.length
    runs = {v * length: lambda v=v: bench_train(options, "--sequences", v, "--length", length, "--micro-batch-tokens",
                                                values[-1] * length) for v in values}
    return growth_table(options, "tokens", list(runs), runs)


def layers_table(options):
    runs = {v: lambda v=v: bench_train(options, "--layers", v, "--length", options.length) for v in (2, 4, 8)}
    return growth_table(options, "layers", list(runs), runs)


def rank_table(options):
    runs = {v: lambda v=v: bench_train(options, "--rank", v, "--length", options.length) for v in (8, 32, 128)}
    return growth_table(options, "rank", list(runs), runs)


def ranks_table(options):
    runs = {"1 rank, all threads": lambda: bench_train(options, "--length", options.length),
            "2 ranks, tensor 2": lambda: bench_train(options, "--tensor", 2, "--length", options.length, ranks=2),
            "2 ranks, data 2": lambda: bench_train(options, "--length", options.length, ranks=2)}
    results = rounds_of(options, runs)
    base, rows, table = next(iter(runs)), [], []
    for name, allowed in zip(runs, (1.0, 0.85, 0.95)):
        measured, best = ratios(results, name, base, lambda r: 1 / step_seconds(r)), of_the_best(results, base, name)
        speed = statistics.median(r["tokens_per_second"]["median"] for r in results[name])
        rows.append([name, f"{speed:.0f}", f"at least {allowed}", spread(measured), f"{best:.3f}"])
        table.append(dict(name=name, tokens_per_second=speed, should_be=allowed, ratios=measured, of_the_best=best))
    print(f"Ranks on {options.threads} cores, {options.shape}, {options.rounds} rounds")
    measuring.print_table(["", "tokens/s", "should be", "is", "of the best"], rows)
    return table


KINDS = {"lora": ("lora",), "dora": ("dora",), "dora, exact": ("dora", "--norm-gradient", "exact"),
         "dora, input axis": ("dora", "--axis", "input")}
COMPARED = (("dora", "lora", 1.03), ("dora, exact", "dora", 1.03), ("dora, input axis", "lora", 1.06))


def norms_share(result):
    return result["phases"]["norms"] / step_seconds(result)


def methods_table(options):
    rows, table = [], []
    compared = [each for each in COMPARED if not options.methods_short or each[0] == "dora"]
    wanted = {name: KINDS[name] for each in compared for name in each[:2]}
    for rank, sequences in ((8, 2), (64, 16), (256, 16)):
        if str(rank) not in options.method_ranks.split(","):
            continue
        common = ["--rank", rank, "--sequences", sequences, "--length", options.length]
        results = rounds_of(options, {name: lambda kind=kind: bench_train(options, "--method", *kind, *common)
                                      for name, kind in wanted.items()})
        for name, base, allowed in compared:
            measured, best = ratios(results, name, base), of_the_best(results, name, base)
            norms = statistics.median(norms_share(r) for r in results[name])
            rows.append([rank, sequences * options.length, f"{name} over {base}", f"at most {allowed}", spread(measured),
                         f"{best:.3f}", f"{100 * norms:.2f} %"])
            table.append(dict(rank=rank, tokens=sequences * options.length, ratio=f"{name} over {base}",
                              should_be=allowed, ratios=measured, of_the_best=best, norms_share=norms))
    print(f"DoRA's optimizer step against LoRA's, {options.shape}, {options.rounds} rounds")
    measuring.print_table(["r", "tokens a step", "ratio of step times", "should be", "is", "of the best", "norms"], rows)
    return table


def levels_table(options):
    results = rounds_of(options, {level: lambda level=level: bench_train(options, "--instruction-set", level,
                                                                         "--length", options.length)
                                  for level in LEVELS})
    rows, table = [], []
    for level in LEVELS:
        measured, best = ratios(results, level, LEVELS[0]), of_the_best(results, level, LEVELS[0])
        seconds = statistics.median(step_seconds(r) for r in results[level])
        rows.append([level, f"{1e3 * seconds:.1f}", spread(measured), f"{best:.3f}"])
        table.append(dict(level=level, seconds=seconds, ratios=measured, of_the_best=best))
    print(f"A step with the loops of each instruction-set level, {options.shape}, {options.rounds} rounds")
    measuring.print_table(["level", "ms a step", f"over {LEVELS[0]}", "of the best"], rows)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measuring.add_common(parser, "bench_train")
    parser.add_argument("--only", default=",".join(TABLES[:-1]),
                        help="tables, separated by commas; levels needs a processor that has all of them, so only by name")
    parser.add_argument("--method-ranks", default="8,64,256", help="which of the table's r")
    parser.add_argument("--methods-short", action="store_true", help="of the methods, DoRA over LoRA only")
    parser.add_argument("--shape", default="110M")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="measured in each run")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(TABLES):
        parser.error(f"--only: {', '.join(sorted(unknown))}: expected some of {', '.join(TABLES)}")
    result = dict(program="growth", shape=options.shape, rounds=options.rounds)
    for name in wanted:
        result[name] = globals()[f"{name}_table"](options)
    measuring.finish(result, options.json)


main()
