"""`generate` beside transformers' own: the same tokens, from the base, the adapted and the merged model.

    python live_generate.py [--quick] [--program build/release/shardora] [--mpiexec mpirun] [--data FOLDER]
                            [--prompts 20] [--new-tokens 64] [--beams 4]

Prompts of uneven lengths, half from the model's own domain, half from another; greedy and beam search; each model at
one rank, at two that share the model, and at two that share the prompts. Prints a table; exit 1 where a token differs
or a log-probability is out of its tolerance, 77 (skipped) with the reason where packages or the test data are missing.
"""
import argparse
import os
import pathlib
import random
import sys
import tempfile

import live_peft  # skips where torch, transformers or PEFT are missing
import numpy as np
import reference

SPLITS = [(1, 1), (2, 2), (2, 1)]  # ranks, tensor
LOG_PROBABILITY = 5e-6  # relative, of a whole continuation


def write_prompts(path, where, count, seed=3):
    """Pieces of 3 to 40 tokens of both texts, the beginning-of-sequence token first."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(where / "models/stories260K/tokenizer.json"))
    texts = [(where / "text" / name).read_text() for name in ("tinystories.txt", "tinyshakespeare.txt")]
    rng, prompts = random.Random(seed), []
    for k in range(count):
        text = texts[k % 2]
        at = rng.randrange(len(text) - 500)
        prompts.append(np.array(tokenizer.encode(text[at:at + 400]).ids[:rng.randint(3, 40)]))
    reference.write_dataset(path, prompts, [np.zeros(len(p)) for p in prompts])
    return prompts


def compare(table, what, ours, wanted, stop_tokens):
    """Counts prompts whose tokens differ, and the worst log-probability of the others."""
    different, worst = 0, 0.0
    for mine, (tokens, log_probability) in zip(ours, wanted):
        ended = tokens[-1] in stop_tokens
        same = mine["tokens"] == (tokens[:-1] if ended else tokens)
        same = same and mine["stopped"] == ("stop_token" if ended else "length")
        different += not same
        if same:
            worst = max(worst, abs(mine["log_probability"] / log_probability - 1))
    table.row(what, f"of {len(wanted)} differ", different + 1000 * (len(ours) != len(wanted)), 0)
    table.row(what, "log-probability", worst, LOG_PROBABILITY)


class Models:
    """The base, an adapter that PEFT made, and what our merge made of both."""

    def __init__(self, a, program, scratch):
        self.base, self.adapter, self.merged = a.data / "models/stories260K", scratch / "adapter", scratch / "merged"
        adapted = reference.new_peft_adapter(self.load(self.base), seed=5, noise=0.05, r=8, lora_alpha=16,
                                             use_dora=True)
        reference.save_peft_adapter(adapted, self.adapter, str(self.base))
        program.run("merge", model__path=self.base, adapter__path=self.adapter, output__dir=self.merged)

    def load(self, folder):
        return reference.load_model(folder)

    def all(self):
        """name, keys of our program, the model that transformers continues with."""
        adapted = reference.load_peft_adapter(self.load(self.base), self.adapter, trainable=False)
        return [("base", dict(model__path=self.base), self.load(self.base)),
                ("adapted", dict(model__path=self.base, adapter__path=self.adapter), adapted),
                ("merged", dict(model__path=self.merged), self.load(self.merged))]


def run(a, table, program, scratch):
    path = scratch / "prompts.safetensors"
    prompts = write_prompts(path, a.data, a.prompts)
    for name, keys, model in Models(a, program, scratch).all():
        end = model.generation_config.eos_token_id
        stop_sets = [[end if isinstance(end, int) else end[0]]]
        stop_sets += [] if a.quick else [[stop_sets[0][0], 426]]  # a full stop as well: continuations end early
        for stop_tokens in stop_sets:
            for beams in (1, a.beams):
                wanted = reference.continuations(model, prompts, a.new_tokens, beams, stop_tokens)
                for split in SPLITS[1:2] if a.quick else SPLITS:
                    found = program.run("generate", split, generate__prompts=path, generate__beams=beams,
                                        generate__max_new_tokens=a.new_tokens, generate__batch_tokens=2000,
                                        generate__stop_tokens=",".join(map(str, stop_tokens)), **keys)
                    what = f"{name}, {beams} beams, {len(stop_tokens)} stops, {split[0]} ranks, tensor {split[1]}"
                    compare(table, what, found["sequences"], wanted, stop_tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute's worth, for continuous integration")
    parser.add_argument("--program", default=live_peft.ROOT / "build/release/shardora")
    parser.add_argument("--mpiexec", default="mpirun")
    data = pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", live_peft.ROOT.parent / "shared/data"))
    parser.add_argument("--data", type=pathlib.Path, default=data)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--beams", type=int, default=4)
    a = parser.parse_args()
    if not (a.data / "models/stories260K").is_dir():
        live_peft.skip(f"no models/stories260K in {a.data}; SHARDORA_TEST_DATA names the folder")
    table = live_peft.Table()
    with tempfile.TemporaryDirectory(prefix="shardora-parity-") as scratch:
        scratch = pathlib.Path(scratch)
        run(a, table, live_peft.Program(a.program, a.mpiexec, scratch), scratch)
    print(f"{table.failed} figures out of tolerance" if table.failed else "all figures within tolerance")
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
