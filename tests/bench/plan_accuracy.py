"""What `shardora plan` says against what `shardora train` then takes: memory and step time, run by run, on this machine.

    python3 tests/bench/plan_accuracy.py [--build FOLDER] [--prefix COMMAND] [--only WORD…] [--work FOLDER] [--json FILE]

Models have random weights of the planned shapes, written to FOLDER (kept there, for the next time) in bfloat16. A run is
planned with the very words that then train it. Memory is rank 0's peak; time is the shortest step, as the plan's own
measurements are shortest passes: other work on the machine only ever adds. Each case is one line of the table; --only
takes those whose name has all the words. --prefix is put before each command.
"""
import argparse
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

import measuring

FAMILY_KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
               "vocab_size")
# name: shape, ranks, tensor, sequences x length, and what else is set.
CASES = {
    "260K dora": ("260K", 1, 1, (16, 256), {}),
    "260K lora": ("260K", 1, 1, (16, 256), {"adapter.method": "lora"}),
    "260K full": ("260K", 1, 1, (16, 256), {"adapter.method": "full"}),
    "260K dora tensor 2": ("260K", 2, 2, (16, 256), {}),
    "15M dora": ("15M", 1, 1, (8, 256), {}),
    "15M lora": ("15M", 1, 1, (8, 256), {"adapter.method": "lora"}),
    "15M full": ("15M", 1, 1, (8, 256), {"adapter.method": "full"}),
    "15M dora selective": ("15M", 1, 1, (8, 256), {"train.recompute": "selective"}),
    "15M dora recompute full": ("15M", 1, 1, (8, 256), {"train.recompute": "full"}),
    "15M dora one layout": ("15M", 1, 1, (8, 256), {"model.weight_layouts": "one"}),
    "15M dora bfloat16": ("15M", 1, 1, (8, 256), {"model.dtype": "bfloat16"}),
    "15M dora tensor 2": ("15M", 2, 2, (8, 256), {}),
    "15M dora data 2": ("15M", 2, 1, (16, 256), {"train.micro_batch_tokens": "1024"}),
    "15M dora data 2 tensor 2": ("15M", 4, 2, (16, 256), {"train.micro_batch_tokens": "1024"}),
    "110M dora": ("110M", 1, 1, (2, 1024), {}),
    "110M lora": ("110M", 1, 1, (2, 1024), {"adapter.method": "lora"}),
    "110M full": ("110M", 1, 1, (1, 512), {"adapter.method": "full"}),
    "110M dora recompute full": ("110M", 1, 1, (2, 1024), {"train.recompute": "full"}),
    "110M dora one layout": ("110M", 1, 1, (2, 1024), {"model.weight_layouts": "one"}),
    "110M dora tensor 2": ("110M", 2, 2, (2, 1024), {}),
    "110M dora micro-batches": ("110M", 1, 1, (4, 256), {"train.micro_batch_tokens": "512"}),
}


def config_of(shape):
    sizes = dict(zip(FAMILY_KEYS, measuring.SHAPES[shape]))
    return dict(model_type="llama", architectures=["LlamaForCausalLM"], rms_norm_eps=1e-5, torch_dtype="bfloat16",
                max_position_embeddings=1024, tie_word_embeddings=shape not in measuring.UNTIED, **sizes)


def tensors_of(config):
    """Name and shape of every tensor of a Llama model, in order."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    key = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        for name, rows in (("q", hidden), ("k", key), ("v", key), ("o", hidden)):
            yield f"{at}self_attn.{name}_proj.weight", (rows, hidden)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            yield f"{at}mlp.{name}_proj.weight", shape
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)


def random_bfloat16(count, generator):
    """Values of both signs between 2^-7 and 2^-5: a sign and exponent byte above a byte of any bits."""
    values = bytearray(2 * count)
    values[0::2] = generator.randbytes(count)
    signs = bytes(0x3C if byte < 128 else 0xBC for byte in range(256))
    values[1::2] = generator.randbytes(count).translate(signs)
    return bytes(values)


def write_safetensors(path, tensors):
    """tensors: (name, type, shape, function that makes the bytes), written one at a time."""
    width = {"BF16": 2, "I32": 4, "I64": 8}
    header, at = {}, 0
    for name, kind, shape, _ in tensors:
        size = math.prod(shape) * width[kind]
        header[name] = dict(dtype=kind, shape=list(shape), data_offsets=[at, at + size])
        at += size
    if tensors[0][0] == "tokens":
        header["__metadata__"] = {"format": "shardora.dataset.v1"}
    text = json.dumps(header).encode()
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, make in tensors:
            file.write(make())
    temporary.rename(path)


def make_model(folder, shape):
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    if weights.exists():
        return
    config, generator = config_of(shape), random.Random(shape)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_safetensors(weights, [(name, "BF16", size, lambda size=size: random_bfloat16(math.prod(size), generator))
                                for name, size in tensors_of(config)])


def make_dataset(path, vocabulary, sequences, length):
    generator = random.Random(0)
    tokens = [generator.randrange(vocabulary) for _ in range(sequences * length)]
    offsets = [k * length for k in range(sequences + 1)]
    write_safetensors(path, [("tokens", "I32", (len(tokens),), lambda: struct.pack(f"<{len(tokens)}i", *tokens)),
                             ("offsets", "I64", (len(offsets),), lambda: struct.pack(f"<{len(offsets)}q", *offsets))])


def words_of(case, work, steps):
    shape, _, tensor, (sequences, length), others = CASES[case]
    data = work / f"{shape}-{sequences}x{length}.safetensors"
    make_model(work / shape, shape)
    make_dataset(data, measuring.SHAPES[shape][-1], sequences, length)
    keys = {"model.path": work / shape, "data.train": data, "adapter.rank": 8, "train.global_batch": sequences,
            "train.steps": steps, "parallel.tensor": tensor, "parallel.threads": 0, **others}
    return [f"--{key}={value}" for key, value in keys.items()]


def run(command, prefix):
    done = subprocess.run(prefix + [str(word) for word in command], env=measuring.ENVIRONMENT, capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"{command} ended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def measured(arguments, words, ranks, tensor, output):
    """Peak memory of rank 0 and the shortest step of a training run."""
    command = [arguments.build / "shardora", "train", *words, f"--output.dir={output}", "--output.checkpoint_every=0"]
    if ranks > 1:
        command = ["mpirun", "-q", "-n", ranks, "--oversubscribe", "--bind-to", "none", *command]
    run(command, arguments.prefix.split())
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "seconds" in line]
    return max(line["peak_memory_bytes"] for line in lines), min(line["seconds"] for line in lines[1:])


def planned(arguments, words, ranks, tensor):
    command = [arguments.build / "shardora", "plan", *words, f"--plan.devices={ranks}", "--plan.device=this"]
    result = json.loads(run(command, arguments.prefix.split()).splitlines()[-1])
    split = next(split for split in result["splits"] if split["tensor"] == tensor)
    return split["memory"]["peak_bytes"], split["step_seconds"]


def measure_case(arguments, case, work):
    _, ranks, tensor, _, _ = CASES[case]
    words = words_of(case, work, arguments.steps)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        memory, seconds = planned(arguments, words, ranks, tensor)
        real_memory, real_seconds = measured(arguments, words, ranks, tensor, pathlib.Path(folder) / "run")
    return dict(case=case, memory=[memory, real_memory], memory_error=memory / real_memory - 1,
                seconds=[seconds, real_seconds], time_error=seconds / real_seconds - 1)


def row_of(result):
    planned_mib, real_mib = (bytes / 2**20 for bytes in result["memory"])
    return (result["case"], f"{planned_mib:.1f}", f"{real_mib:.1f}", f"{100 * result['memory_error']:+.1f} %",
            *(f"{1e3 * seconds:.4g}" for seconds in result["seconds"]), f"{100 * result['time_error']:+.1f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=measuring.ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("--prefix", default="", help="put before each command")
    parser.add_argument("--only", nargs="*", default=[], help="words that a case's name must have")
    parser.add_argument("--work", type=pathlib.Path, help="where models are kept; else a folder that goes")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", help="also write the result to this file")
    arguments = parser.parse_args()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp())
    try:
        names = [name for name in CASES if all(word in name.split() for word in arguments.only)]
        results = []
        for name in names:
            results.append(measure_case(arguments, name, work))
            print(" | ".join(row_of(results[-1])), file=sys.stderr, flush=True)
    finally:
        if not arguments.work:
            shutil.rmtree(work)
    measuring.print_table(("run", "planned MiB", "measured MiB", "memory", "planned ms", "shortest ms", "time"),
                          [row_of(result) for result in results])
    measuring.finish(dict(cases=results), arguments.json)


if __name__ == "__main__":
    main()
