#!/usr/bin/env python3
"""Shows sequences of a dataset file as text: what is learned in colour (in brackets where there is none).

    show.py --tokenizer MODEL train.safetensors [--sequence 17 …] [--samples 3]

Without --sequence, the first ones and evenly spaced others. What a file holds in all, and what is wrong with it:
shardora inspect --data.train=FILE.
"""

import argparse
import os
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../common"))

from refusal import USAGE, Arguments, Refusal, one_line, run  # noqa: E402


def parser():
    arguments = Arguments(prog="show.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dataset", metavar="FILE", help="a dataset file of prepare.py")
    arguments.add_argument("--tokenizer", required=True, metavar="FOLDER", help="a Hugging Face folder with tokenizer.json")
    arguments.add_argument("--sequence", type=int, nargs="+", default=[], metavar="K", help="numbers, from 0")
    arguments.add_argument("--samples", type=int, default=3, metavar="N", help="how many, where no --sequence is given (3)")
    return arguments


def read(path):
    """(metadata, offsets, a function that gives a sequence's tokens and mask), without reading all of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
        missing = {"tokens", "offsets"} - set(file.keys())
        if missing:
            raise Refusal(f"{path}: has no tensor {', '.join(sorted(missing))}; expected a dataset file of prepare.py")
        offsets = file.get_tensor("offsets")
    except (SafetensorError, FileNotFoundError) as problem:
        raise Refusal(f"{path}: {one_line(problem)}; expected a dataset file of prepare.py") from None
    tokens = file.get_slice("tokens")
    mask = file.get_slice("loss_mask") if "loss_mask" in file.keys() else None

    def sequence(number):
        begin, end = int(offsets[number]), int(offsets[number + 1])
        ids = tokens[begin:end].tolist()
        return ids, mask[begin:end].tolist() if mask is not None else [0] + [1] * (len(ids) - 1)

    return file.metadata() or {}, len(offsets) - 1, sequence


def numbers(options, count):
    for number in options.sequence:
        if not 0 <= number < count:
            raise Refusal(f"--sequence {number}: {options.dataset} has sequences 0 to {count - 1}", USAGE)
    if options.samples < 1:
        raise Refusal(f"--samples is {options.samples}, expected 1 or more", USAGE)
    some = min(options.samples, count)
    return options.sequence or sorted({k * count // some for k in range(some)})


def main(arguments):
    import showing
    from encoding import Encoder

    sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    metadata, count, sequence = read(options.dataset)
    chosen = numbers(options, count)
    encoder = Encoder(options.tokenizer)
    if metadata.get("tokenizer_sha256") not in (None, encoder.sha256):
        raise Refusal(f"{options.dataset}: made with another tokenizer than {options.tokenizer}; give that one")
    for number in chosen:
        tokens, mask = sequence(number)
        print(f"sequence {number}: {len(tokens)} tokens, {sum(mask)} learned")
        print(showing.sequence(encoder, tokens, mask))


if __name__ == "__main__":
    sys.exit(run("show.py", main, sys.argv[1:]))
