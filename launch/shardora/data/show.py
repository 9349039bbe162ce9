"""Shows sequences of a dataset file as text: what is learned in colour (in brackets where there is none).

    shardora-show --tokenizer MODEL train.safetensors [--sequence 17 …] [--samples 3]

Without --sequence, the first ones and evenly spaced others. What a file holds in all, and what is wrong with it:
shardora inspect --data.train=FILE.
"""

import sys

from shardora.data.tokenizer import Encoder
from shardora.errors import USAGE, Arguments, Error, one_line

_MOST = 1500  # characters


def parser():
    arguments = Arguments(prog="shardora-show", description=__doc__)
    arguments.add_argument("dataset", metavar="FILE", help="a dataset file of shardora-prepare")
    arguments.add_argument(
        "--tokenizer", required=True, metavar="FOLDER", help="a Hugging Face folder with tokenizer.json"
    )
    arguments.add_argument("--sequence", type=int, nargs="+", default=[], metavar="K", help="numbers, from 0")
    arguments.add_argument(
        "--samples", type=int, default=3, metavar="N", help="how many, where no --sequence is given (3)"
    )
    return arguments


def read(path):
    """(metadata, offsets, a function that gives a sequence's tokens and mask), without reading all of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
        missing = {"tokens", "offsets"} - set(file.keys())
        if missing:
            raise Error(
                f"{path}: has no tensor {', '.join(sorted(missing))}; expected a dataset file of shardora-prepare"
            )
        offsets = file.get_tensor("offsets")
    except (SafetensorError, FileNotFoundError) as problem:
        raise Error(f"{path}: {one_line(problem)}; expected a dataset file of shardora-prepare") from None
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
            raise Error(f"--sequence {number}: {options.dataset} has sequences 0 to {count - 1}", USAGE)
    if options.samples < 1:
        raise Error(f"--samples is {options.samples}, expected 1 or more", USAGE)
    some = min(options.samples, count)
    return options.sequence or sorted({k * count // some for k in range(some)})


def marked_text(encoder, tokens, mask, colour=None):
    """One decoded sequence with its mask: targets in colour on a terminal, in brackets elsewhere."""
    colour = sys.stdout.isatty() if colour is None else colour
    on, off = ("\033[32m", "\033[0m") if colour else ("⟦", "⟧")
    text, begin, before = "", 0, ""
    while begin < len(tokens):
        end = begin
        while end < len(tokens) and mask[end] == mask[begin]:
            end += 1
        # By what it adds to the text before: a tokenizer may treat a text's first blank in its own way.
        now = encoder.decode(tokens[:end])
        piece = _harmless(now[len(before) :])
        text += f"{on}{piece}{off}" if mask[begin] else piece
        begin, before = end, now
    return _shortened(text, off if colour else "")


def _harmless(text):
    """Control characters in data must not reach the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _shortened(text, end):
    if len(text) <= _MOST:
        return text
    half = _MOST // 2
    return f"{text[:half]}{end} … {len(text) - 2 * half} characters left out … {text[-half:]}{end}"


def main(arguments):
    sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    metadata, count, sequence = read(options.dataset)
    chosen = numbers(options, count)
    encoder = Encoder(options.tokenizer)
    if metadata.get("tokenizer_sha256") not in (None, encoder.sha256):
        raise Error(f"{options.dataset}: made with another tokenizer than {options.tokenizer}; give that one")
    for number in chosen:
        tokens, mask = sequence(number)
        print(f"sequence {number}: {len(tokens)} tokens, {sum(mask)} learned")
        print(marked_text(encoder, tokens, mask))
