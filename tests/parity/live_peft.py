"""The program beside PEFT and transformers, running now: the same files in, the same numbers out.

    python live_peft.py [--quick] [--program build/release/shardora] [--mpiexec mpirun] [--data FOLDER] [--only PART…]

Parts: stories (a real model on Shakespeare, at every split), families (random models of each), exchange (adapters and
merged models cross over both ways), long (300 steps; not in --quick). Prints a table; exit 1 where a figure is out of
its tolerance, 77 (skipped) with the reason where torch, PEFT or the test data are missing.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
SPLITS = [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]  # ranks, tensor

# Largest relative differences: losses, gradient norms before clipping, each tensor's update θ - θ₀.
OF_PEFT = dict(loss=1e-5, gradient_norm=1e-4, update=2e-3)
OF_ONE_RANK = dict(loss=2e-6, gradient_norm=1e-5, update=1e-3)
SAME_LOSS = 1e-5
AFTER_300_STEPS = 1e-4


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


try:
    import numpy as np
    import peft
    import torch
    import transformers
    from safetensors.numpy import load_file
except ImportError as missing:
    skip(f"{missing}; pip install torch transformers peft runs this comparison")

import make_goldens
import reference


class Table:
    def __init__(self):
        self.failed = 0

    def row(self, what, figure, value, tolerance):
        good = value <= tolerance
        self.failed += not good
        print(f"{what:44} {figure:16} {value:9.1e}  of {tolerance:7.0e}  {'ok' if good else 'TOO FAR'}", flush=True)


class Program:
    def __init__(self, path, mpiexec, scratch):
        self.path, self.mpiexec, self.scratch, self.runs = path, mpiexec, scratch, 0

    def run(self, command, split=(1, 1), **keys):
        """Keys are written section__key. Returns the last line's object."""
        ranks, tensor = split
        words = [self.mpiexec, "-n", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks > 1 else []
        words += [self.path, command, f"--parallel.tensor={tensor}", "--parallel.threads=1"]
        words += [f"--{key.replace('__', '.')}={value}" for key, value in keys.items()]
        environment = os.environ | dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                                        OMP_WAIT_POLICY="passive")
        done = subprocess.run([str(w) for w in words], env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}\nended with {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def train(self, split=(1, 1), folder=None, **keys):
        """Returns losses, gradient norms, evaluation losses and the folder, which goes on where it has been before."""
        self.runs += 1
        folder = folder or self.scratch / f"run-{self.runs}"
        keys = dict(output__checkpoint_every=0) | keys
        self.run("train", split, output__dir=folder, data__shuffle="false", train__schedule="constant",
                 train__clip_norm=1, train__micro_batch_tokens=512, **keys)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        return dict(losses=[s["loss"] for s in steps], gradient_norms=[s["gradient_norm"] for s in steps],
                    held_out=[line["eval_loss"] for line in lines if "eval_loss" in line], folder=folder,
                    adapter=folder / "adapter")

    def evaluate(self, model, data, adapter=None, split=(1, 1)):
        keys = dict(model__path=model, data__eval=data) | (dict(adapter__path=adapter) if adapter else {})
        return self.run("eval", split, **keys)["loss"]


def relative(values, wanted):
    assert len(values) == len(wanted) > 0, (len(values), len(wanted))
    return max(abs(a / b - 1) for a, b in zip(values, wanted))


def worst_update(adapter, wanted, start):
    """Over all tensors: distance from the wanted one, in units of how far that one has moved."""
    a, b, zero = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, wanted, start))
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    size = lambda x: float(np.linalg.norm(x.astype(np.float64)))
    return max(size(a[k] - b[k]) / size(b[k] - zero[k]) for k in b)


def compare(table, what, run, wanted, start, tolerance):
    table.row(what, "loss", relative(run["losses"], wanted["losses"]), tolerance["loss"])
    table.row(what, "gradient norm", relative(run["gradient_norms"], wanted["gradient_norms"]),
              tolerance["gradient_norm"])
    table.row(what, "update", worst_update(run["adapter"], wanted["adapter"], start), tolerance["update"])


class Comparison:
    """One model and dataset, adapted by PEFT from an adapter that PEFT made."""

    def __init__(self, program, scratch, name, model, train_data, held_out, rank=8, alpha=16, noise=0.05, **settings):
        self.program, self.name, self.model, self.data, self.held_out = program, name, model, train_data, held_out
        self.folder = scratch / name
        self.init = self.folder / "init"
        self.keys = dict(model__path=model, data__train=train_data, adapter__rank=rank, adapter__alpha=alpha,
                         adapter__method="dora" if settings["use_dora"] else "lora", adapter__path=self.init)
        adapted = reference.new_peft_adapter(self.load(), seed=5, noise=noise, r=rank, lora_alpha=alpha, **settings)
        reference.save_peft_adapter(adapted, self.init, str(model))

    def load(self):
        return reference.load_model(self.model)

    def peft(self, steps, peak=2e-4, start=None, name="peft"):
        model = reference.load_peft_adapter(self.load(), start or self.init)
        result, _ = reference.train(model, reference.read_dataset(self.data), steps, 8, peak)
        reference.save_peft_adapter(model, self.folder / name, str(self.model))
        return result | dict(adapter=self.folder / name)

    def ours(self, steps, split=(1, 1), peak=2e-4, **keys):
        return self.program.train(split, **(self.keys | dict(train__steps=steps, train__global_batch=8,
                                                             train__learning_rate=peak) | keys))

    def splits(self, table, steps, splits):
        theirs = self.peft(steps)
        alone = None
        for split in splits:
            run = self.ours(steps, split)
            what = f"{self.name}, {split[0]} ranks, tensor {split[1]}"
            compare(table, what, run, theirs, self.init, OF_PEFT)
            if alone:
                compare(table, what + ", one rank", run, alone, self.init, OF_ONE_RANK)
            alone = alone or run
        return theirs, alone


def stories(where, program, scratch, method, sequences=96, masked=True, noise=0.05):
    text = (where / "text/tinyshakespeare.txt").read_text()
    folder, tokenizer = where / "models/stories260K", where / "models/stories260K/tokenizer.json"
    data, held_out = scratch / f"shakespeare-{sequences}.safetensors", scratch / f"held-out-{sequences}.safetensors"
    if not data.exists():
        reference.text_dataset(data, tokenizer, text, sequences, 96, masked=masked)
        reference.text_dataset(held_out, tokenizer, text, 48, 96, skip=900_000, seed=1, masked=masked)
    return Comparison(program, scratch, f"stories260K {method}", folder, data, held_out, noise=noise,
                      use_dora=method == "dora")


def part_stories(a, table, program, scratch):
    for method in ["dora"] if a.quick else ["dora", "lora"]:
        stories(a.data, program, scratch, method).splits(table, 10, [(1, 1), (4, 2)] if a.quick else SPLITS)


def part_families(a, table, program, scratch):
    names = ["qwen2", "qwen3"] if a.quick else [n for n in make_goldens.MODELS if n != "llama"]
    for name in names:
        family, dtype, shape = make_goldens.MODELS[name]
        larger = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3)
        reference.random_model(family, scratch / name, dtype, seed=11, **(shape | larger))
        data, held_out = scratch / f"{name}.safetensors", scratch / f"{name}-held-out.safetensors"
        vocabulary = json.loads((scratch / name / "config.json").read_text())["vocab_size"]
        reference.random_dataset(data, vocabulary, 27, 48, 12)
        reference.random_dataset(held_out, vocabulary, 9, 48, 13)
        case = Comparison(program, scratch, f"{name} dora", scratch / name, data, held_out, use_dora=True)
        case.splits(table, 10, [(1, 1), (4, 4)] if a.quick else SPLITS)


def part_exchange(a, table, program, scratch):
    for method in ["dora"] if a.quick else ["dora", "lora"]:
        case = stories(a.data, program, scratch, method)
        held_out = reference.read_dataset(case.held_out)
        run = case.ours(5, (2, 2), data__eval=case.held_out)

        loaded = reference.load_peft_adapter(case.load(), run["adapter"], trainable=False)
        theirs = reference.evaluate(loaded, held_out)
        table.row(case.name + ", written here", "PEFT's loss", relative(run["held_out"][-1:], [theirs]), SAME_LOSS)

        merged = scratch / f"merged-{method}"
        program.run("merge", model__path=case.model, adapter__path=run["adapter"], output__dir=merged)
        table.row(case.name + ", merged here", "transformers'",
                  relative([reference.evaluate(reference.load_model(merged), held_out)], [theirs]), SAME_LOSS)
        table.row(case.name + ", merged here", "our loss",
                  relative([program.evaluate(merged, case.held_out)], [theirs]), SAME_LOSS)

        first = case.peft(5)
        second = case.peft(3, start=first["adapter"], name="peft-continued")
        going_on = case.ours(3, (2, 2), adapter__path=first["adapter"])
        compare(table, case.name + ", begun by PEFT", going_on, second, first["adapter"], OF_PEFT)
        fresh = Comparison(program, scratch, f"{method} without noise", case.model, case.data, case.held_out, noise=0.0,
                           use_dora=method == "dora")
        table.row(fresh.name, "first loss", relative(fresh.ours(1)["losses"], fresh.peft(1)["losses"]), SAME_LOSS)


def part_long(a, table, program, scratch):
    if a.quick:
        return
    case = stories(a.data, program, scratch, "dora", sequences=2400, masked=False, noise=0.0)
    held_out = reference.read_dataset(case.held_out)
    base = reference.evaluate(case.load(), held_out)
    theirs = case.peft(300, peak=1e-3)
    loss = reference.evaluate(reference.load_peft_adapter(case.load(), theirs["adapter"]), held_out)
    for split in ((1, 1), (4, 2)):
        run = case.ours(300, split, peak=1e-3, data__eval=case.held_out)
        print(f"300 steps, {split[0]} ranks, tensor {split[1]}: held-out loss {base:.4f} -> {run['held_out'][-1]:.6f}, "
              f"PEFT {loss:.6f}")
        table.row(f"300 steps, {split[0]} ranks, tensor {split[1]}", "held-out loss",
                  relative(run["held_out"][-1:], [loss]), AFTER_300_STEPS)


PARTS = dict(stories=part_stories, families=part_families, exchange=part_exchange, long=part_long)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute's worth, for continuous integration")
    parser.add_argument("--program", default=ROOT / "build/release/shardora")
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--data", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    a = parser.parse_args()
    if not (a.data / "models/stories260K").is_dir():
        skip(f"no models/stories260K in {a.data}; SHARDORA_TEST_DATA names the folder")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="shardora-parity-") as scratch:
        program = Program(a.program, a.mpiexec, pathlib.Path(scratch))
        for part in a.only:
            PARTS[part](a, table, program, pathlib.Path(scratch))
    print(f"{table.failed} figures out of tolerance" if table.failed else "all figures within tolerance")
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
