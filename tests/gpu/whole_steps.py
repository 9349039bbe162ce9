"""Whole optimizer steps of `shardora train` on the device: against its own CPU backend, against PEFT on the same device,
bfloat16 against float32, several ranks on one device against one, and the same bits twice and after a stop.

    python whole_steps.py --program shardora --out FOLDER [--mpiexec mpirun] [--backend cuda] [--quick]

A process of its own, so that torch holds no memory of the device while speed is measured. Each line of standard output
is a row for report.py; run.py reads them. Exit 77 with a reason where torch, PEFT or the test data are missing.
--backend cpu rehearses all of it where there is no device: float32 in the place of bfloat16, one device key less.
"""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "parity"))
import live_peft  # ends with 77 where torch or PEFT is missing
import reference
import torch
from context import library_path


def say(**row):
    print(json.dumps(row), flush=True)


class OnDevice(live_peft.Program):
    """`train` with a backend's keys. Ranks share the one device, and speak through the host."""

    def __init__(self, a, scratch):
        super().__init__(a.program, a.mpiexec, scratch)
        self.backend = a.backend

    def run(self, command, split=(1, 1), backend=None, **keys):
        backend = backend or self.backend
        keys = dict(parallel__backend=backend) | keys
        if backend == "cuda" and split[0] > 1:
            keys = dict(parallel__communicator="host", parallel__share_devices="true") | keys
        return super().run(command, split, **keys)


class Case(live_peft.Comparison):
    """PEFT trains on the device too."""

    def __init__(self, a, *arguments, **settings):
        self.torch_device = "cuda" if a.backend == "cuda" else "cpu"
        super().__init__(*arguments, **settings)

    def peft(self, steps, **settings):
        with OnTorchDevice(self.torch_device):
            return super().peft(steps, **settings)

    def load(self):
        return super().load().to(self.torch_device)


class OnTorchDevice:
    """What reference.py makes is made there; what it copies from numpy goes there too."""

    def __init__(self, device):
        self.device, self.from_numpy = torch.device(device), torch.from_numpy

    def __enter__(self):
        torch.backends.cuda.matmul.allow_tf32 = False
        self.device.__enter__()
        torch.from_numpy = lambda array: self.from_numpy(array).to(self.device)

    def __exit__(self, *error):
        torch.from_numpy = self.from_numpy
        self.device.__exit__(*error)


def compare(what, run, wanted, start=None, loss="float32_loss", norm="float32_gradient_norm"):
    say(what=f"{what}: loss", value=live_peft.relative(run["losses"], wanted["losses"]), goal=loss)
    say(what=f"{what}: gradient norm", value=live_peft.relative(run["gradient_norms"], wanted["gradient_norms"]),
        goal=norm)
    if start:
        say(what=f"{what}: update", value=live_peft.worst_update(run["adapter"], wanted["adapter"], start))


def float32(a, case, steps=10):
    """Returns the device's run."""
    device = case.ours(steps, model__dtype="float32")
    cpu = case.ours(steps, model__dtype="float32", backend="cpu")
    compare(f"{case.name}, float32, against the CPU", device, cpu, case.init)
    compare(f"{case.name}, float32, against PEFT on the device", device, case.peft(steps), case.init)
    return device


def splits(a, case, alone, steps=10):
    if not shutil.which(a.mpiexec):
        return say(what=f"{case.name}, several ranks", skipped=f"no {a.mpiexec} here")
    for split in [(2, 2), (2, 1), (4, 2)] + ([] if a.quick else [(4, 4), (4, 1)]):
        run = case.ours(steps, split, model__dtype="float32")
        compare(f"{case.name}, {split[0]} ranks, tensor {split[1]}, against one", run, alone, case.init)


def bfloat16(a, case, steps):
    wanted = case.ours(steps, peak=1e-3, model__dtype="float32")
    run = case.ours(steps, peak=1e-3, model__dtype="bfloat16" if a.backend == "cuda" else "float32")
    compare(f"{case.name}, bfloat16, {steps} steps, against float32", run, wanted, loss="bfloat16_loss", norm=None)
    say(what=f"{case.name}: float32 loss of the last step over the first", value=wanted["losses"][-1] / wanted["losses"][0])


def differing_bytes(a, b):
    a, b = ((folder / "adapter_model.safetensors").read_bytes() for folder in (a, b))
    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b))


def same_bits(a, case, steps=10):
    keys = dict(train__deterministic="true") if a.backend == "cuda" else {}
    keys["model__dtype"] = "bfloat16" if a.backend == "cuda" else "float32"
    first, second = case.ours(steps, **keys), case.ours(steps, **keys)
    what = f"{case.name}, deterministic"
    say(what=f"{what}, twice", value=differing_bytes(first["adapter"], second["adapter"]), unit="bytes",
        goal="differing_bytes")
    say(what=f"{what}, twice: differing losses", value=sum(x != y for x, y in zip(first["losses"], second["losses"])),
        goal="differing_bytes")
    keys["output__checkpoint_every"] = steps // 2
    stopped = case.ours(steps // 2, **keys)
    if not differing_bytes(first["adapter"], stopped["adapter"]):
        raise RuntimeError("half the steps give the adapter of all of them, so equal bytes say nothing")
    resumed = case.ours(steps, folder=stopped["folder"], **keys)
    say(what=f"{what}, stopped and resumed", value=differing_bytes(first["adapter"], resumed["adapter"]), unit="bytes",
        goal="differing_bytes")


def random_case(a, program, scratch, name, family, sequences=27, longest=48, **shape):
    reference.random_model(family, scratch / name, seed=11, **shape)
    data = scratch / f"{name}.safetensors"
    reference.random_dataset(data, shape["vocab_size"], sequences, longest, 12)
    return Case(a, program, scratch, f"{name} dora", scratch / name, data, data, use_dora=True)


def all_parts(a, program, scratch):
    text = (a.data / "text/tinyshakespeare.txt").read_text()
    model = a.data / "models/stories260K"

    def stories(method, sequences, noise):
        data = scratch / f"shakespeare-{sequences}.safetensors"
        if not data.exists():
            reference.text_dataset(data, model / "tokenizer.json", text, sequences, 96, masked=noise > 0)
        return Case(a, program, scratch, f"stories260K {method}{'' if noise else ', fresh'}", model, data, data,
                    noise=noise, use_dora=method == "dora")

    # Head sizes 64 and 128 with packed bfloat16 are what cuDNN serves; odd widths and norms of heads are not its own.
    common = dict(vocab_size=515, max_position_embeddings=512)
    heads_of_64 = dict(hidden_size=256, intermediate_size=344, num_attention_heads=4, num_key_value_heads=2) | common
    yield "stories", lambda: parts_of_stories(a, stories("dora", 96, 0.05))
    yield "lora", lambda: float32(a, stories("lora", 96, 0.05))
    yield "learning", lambda: bfloat16(a, stories("dora", 800, 0.0), 20 if a.quick else 100)
    yield "qwen3", lambda: float32(a, random_case(a, program, scratch, "qwen3", "qwen3", head_dim=16, hidden_size=64,
                                                  intermediate_size=97, num_hidden_layers=3, **common))
    yield "heads of 64", lambda: parts_of_heads(a, random_case(a, program, scratch, "heads-of-64", "llama", longest=400,
                                                               **heads_of_64))


def parts_of_stories(a, case):
    alone = float32(a, case)
    splits(a, case, alone)
    same_bits(a, case)


def parts_of_heads(a, case):
    float32(a, case, 5)
    bfloat16(a, case, 10)
    same_bits(a, case, 6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--backend", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=pathlib.Path,
                        default=os.environ.get("SHARDORA_TEST_DATA", live_peft.ROOT.parent / "shared/data"))
    a = parser.parse_args()
    if not (a.data / "models/stories260K").is_dir():
        live_peft.skip(f"no models/stories260K in {a.data}; SHARDORA_TEST_DATA names the folder")
    if a.backend == "cuda" and not torch.cuda.is_available():
        live_peft.skip("torch sees no GPU")
    os.environ["LD_LIBRARY_PATH"] = library_path()  # for the programs; this process has loaded its own by now
    with tempfile.TemporaryDirectory(prefix="shardora-gpu-") as scratch:
        program = OnDevice(a, pathlib.Path(scratch))
        for name, part in all_parts(a, program, pathlib.Path(scratch)):
            try:
                part()
            except (Exception, SystemExit) as error:  # one part's fault leaves the others their figures
                say(what=name, failed=str(error)[-600:])


if __name__ == "__main__":
    main()
