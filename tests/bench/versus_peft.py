"""Shardora and PEFT, DoRA and LoRA, in one run: the same model, the same tokens, interleaved, a process each time.

    python tests/bench/versus_peft.py [--shape 110M | --model FOLDER] [--sequences 2 --length 1024] [--rounds 3]
    python tests/bench/versus_peft.py --lengths gsm8k [--learn answers] [--sequences 16]

Shardora is the program `train` as users start it; figures are those of its metrics.jsonl. Neither start-up nor each
process's first step counts. Tokens per second: of sequences of one length, best and median over all steps; of real
lengths, all tokens that are not padding over all seconds of a process, best and median over processes. Peak memory: the
most that a process had resident, the loading of the model included. PEFT pads to the longest of its batch, which is
the optimizer step's; with real lengths it is measured in file order and grouped by length.

Needs torch, transformers, peft and tokenizers in the Python that runs it (else exit 77), and for gsm8k the data folder
SHARDORA_TEST_DATA.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

import measuring

HERE = pathlib.Path(__file__).resolve().parent
DATA = pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", measuring.ROOT / "../shared/data"))


def random_sequences(options, vocabulary):
    draw = random.Random(0)
    return [([draw.randrange(vocabulary) for _ in range(options.length)], 0)
            for _ in range(options.sequences * options.steps)]


def gsm8k_sequences(options):
    """Token ids, and how many of them are the question."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizers/minimind/tokenizer.json"))
    found = []
    for line in (DATA / "gsm8k/train.jsonl").read_text().splitlines()[:options.sequences * options.steps]:
        one = json.loads(line)
        question = tokenizer.encode(one["question"] + "\n").ids
        found.append((question + tokenizer.encode(one["answer"]).ids, len(question)))
    return found


def write_dataset(path, sequences, learn):
    import numpy
    from safetensors.numpy import save_file
    tokens = numpy.array([token for ids, _ in sequences for token in ids], numpy.int32)
    offsets = numpy.cumsum([0] + [len(ids) for ids, _ in sequences]).astype(numpy.int64)
    mask = numpy.ones(len(tokens), numpy.uint8)
    for begin, (_, question) in zip(offsets[:-1], sequences):
        mask[begin:begin + (question if learn == "answers" else 1)] = 0
    save_file(dict(tokens=tokens, offsets=offsets, loss_mask=mask), path, metadata=dict(format="shardora.dataset.v1"))


def shardora(options, model, dataset, method):
    """One more step than is counted: the first warms up, and the data begins again after it."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        measuring.run([options.build / "shardora", "train", f"--model.path={model}", f"--data.train={dataset}",
                       f"--adapter.method={method}", f"--adapter.rank={options.rank}",
                       f"--adapter.alpha={2 * options.rank}", "--data.shuffle=false",
                       f"--train.global_batch={options.sequences}", f"--train.steps={options.steps + 1}",
                       "--train.schedule=constant", f"--parallel.threads={options.threads}", f"--output.dir={run}",
                       "--output.checkpoint_every=0"], options.prefix)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return dict(steps=lines[1:], first_loss=lines[0]["loss"], peak_memory_bytes=lines[-1]["peak_memory_bytes"])


def peft(options, model, dataset, method, grouped):
    words = [sys.executable, HERE / "peft_side.py", "train", model, dataset, method, f"--rank={options.rank}",
             f"--batch={options.sequences}", f"--threads={options.threads}"]
    return measuring.run(words + (["--group-by-length"] if grouped else []), options.prefix)


def contenders(options, model, dataset):
    """Name to a function that measures once. Order within a round is the order here."""
    all_of_them = {}
    for method in options.methods.split(","):
        all_of_them[f"shardora {method}"] = lambda method=method: shardora(options, model, dataset, method)
        for grouped in ([False, True] if options.lengths == "gsm8k" else [False]):
            name = f"peft {method}" + (", grouped by length" if grouped else "")
            all_of_them[name] = lambda m=method, g=grouped: peft(options, model, dataset, m, g)
    return all_of_them


def speeds(options, processes):
    if options.lengths == "gsm8k":
        return [sum(s["tokens"] for s in p["steps"]) / sum(s["seconds"] for s in p["steps"]) for p in processes]
    return [step["tokens"] / step["seconds"] for process in processes for step in process["steps"]]


def require_same_start(rounds, tolerance=2e-3):
    """Every contender starts at the base model's loss on the first batch; grouping takes another batch first."""
    losses = {name: p[0]["first_loss"] for name, p in rounds.items() if "grouped" not in name}
    middle = statistics.median(losses.values())
    if any(abs(loss - middle) > tolerance * middle for loss in losses.values()):
        sys.exit(f"the first losses differ, so this is not one task: {losses}")


def report(options, rounds):
    result = dict(program="versus_peft", options={k: str(v) for k, v in vars(options).items() if v is not None},
                  contenders={}, versions=next((p[0]["versions"] for n, p in rounds.items() if "peft" in n), {}))
    for name, processes in rounds.items():
        result["contenders"][name] = dict(
            tokens_per_second=measuring.best_and_median(speeds(options, processes)),
            peak_memory_bytes=max(p["peak_memory_bytes"] for p in processes), processes=processes)
    rows = []
    for name, one in result["contenders"].items():
        speed = one["tokens_per_second"]
        cells = [name, f"{speed['best']:.0f}", f"{speed['median']:.0f}", f"{one['peak_memory_bytes'] / 2**30:.2f} GiB"]
        for other in result["contenders"]:
            if not other.startswith("peft") or name.startswith("peft"):
                continue
            base = result["contenders"][other]
            ratio = dict(best=speed["best"] / base["tokens_per_second"]["best"],
                         median=speed["median"] / base["tokens_per_second"]["median"],
                         memory=one["peak_memory_bytes"] / base["peak_memory_bytes"])
            one.setdefault("against", {})[other] = ratio
            cells.append(f"{ratio['best']:.2f}x best, {ratio['median']:.2f}x median, {100 * ratio['memory']:.0f} % memory")
        rows.append(cells + [""] * (4 + sum(o.startswith("peft") for o in result["contenders"]) - len(cells)))
    print(f"batch of PEFT: {options.sequences} sequences, {'padded to the longest' if options.lengths == 'gsm8k' else 'no padding'};"
          f" {options.threads} threads; {options.rounds} rounds of {options.steps} steps")
    measuring.print_table(["", "tokens/s, best", "median", "peak memory"] +
                          [f"against {o}" for o in result["contenders"] if o.startswith("peft")], rows)
    return result


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measuring.add_common(parser, "shardora")
    parser.add_argument("--shape", default="110M", choices=list(measuring.SHAPES), help="random weights")
    parser.add_argument("--model", help="a Hugging Face folder in the place of random weights")
    parser.add_argument("--methods", default="dora,lora")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--sequences", type=int, default=2, help="of an optimizer step; PEFT's batch")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--lengths", default="uniform", choices=["uniform", "gsm8k"])
    parser.add_argument("--learn", default="all", choices=["all", "answers"], help="gsm8k: which tokens are targets")
    parser.add_argument("--steps", type=int, default=3, help="counted in each process")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main():
    options = arguments()
    for module in ("torch", "transformers", "peft", "tokenizers", "safetensors"):
        if importlib.util.find_spec(module) is None:
            print(f"skipped: {sys.executable} has no {module}")
            sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        shape = list(measuring.SHAPES[options.shape])
        if options.lengths == "gsm8k":
            shape[-1] = 6400  # the tokenizer's
        model = options.model or folder + "/model"
        if not options.model:
            subprocess.run([sys.executable, HERE / "peft_side.py", "model", model, json.dumps(shape)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        vocabulary = json.loads((pathlib.Path(model) / "config.json").read_text())["vocab_size"]
        sequences = gsm8k_sequences(options) if options.lengths == "gsm8k" else random_sequences(options, vocabulary)
        write_dataset(folder + "/data.safetensors", sequences, options.learn)
        rounds = {}
        for _ in range(options.rounds):
            for name, measure in contenders(options, model, folder + "/data.safetensors").items():
                rounds.setdefault(name, []).append(measure())
                print(f"{name}: {max(speeds(options, rounds[name][-1:])):.0f} tokens/s", file=sys.stderr, flush=True)
    require_same_start(rounds)
    measuring.finish(report(options, rounds), options.json)


main()
