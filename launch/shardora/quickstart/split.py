"""Prepares a reader's own data: a dataset file, or JSON Lines with "prompt" and "completion", becomes a training part
and a held-out part, and questions from the latter.

    python3 -m shardora.quickstart split MODEL FILE OUTPUT      writes OUTPUT/data
"""

import json
import os
import random
import struct
import sys

from shardora import dataset_file
from shardora.data.tokenizer import appended
from shardora.errors import USAGE, Error, shown
from shardora.quickstart import questions

FIELDS = ("prompt", "completion")
HELD_OUT_SHARE, HELD_OUT_LIMIT, QUESTIONS = 0.1, 200, 5


def is_dataset(path):
    """A safetensors file starts with its header's length and an opening brace; JSON Lines start with the brace."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < os.path.getsize(path)


def read_json(path):
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except ValueError as problem:
        raise Error(f"{path}: not JSON ({problem})") from None
    if not isinstance(value, dict):
        raise Error(f"{path}: is {shown(value)}, expected a JSON object")
    return value


def longest_sequence(model):
    """The model's limit, or none where its configuration names none."""
    return read_json(os.path.join(model, "config.json")).get("max_position_embeddings") or sys.maxsize


def end_token(model):
    """The id that ends a text: generation_config.json knows best, then config.json."""
    for name in ("generation_config.json", "config.json"):
        path = os.path.join(model, name)
        if os.path.exists(path):
            token = read_json(path).get("eos_token_id")
            if token is not None:
                return token[0] if isinstance(token, list) else token
    raise Error(
        f"{model}: neither generation_config.json nor config.json has eos_token_id, expected the id that ends a text"
    )


def fields_of(line, where):
    """A line's prompt and completion."""
    expected = "expected one JSON object a line, with the texts prompt and completion"
    other = "; shardora-prepare reads other forms and names, and makes a dataset file of them"
    try:
        sample = json.loads(line)
    except ValueError:
        raise Error(f"{where}: starts with {shown(line.decode(errors='replace'), 30)}, {expected}{other}") from None
    if not isinstance(sample, dict):
        raise Error(f"{where}: is {shown(sample)}, {expected}{other}")
    if not all(isinstance(sample.get(name), str) for name in FIELDS):
        found = ", ".join(f"{name} ({type(value).__name__})" for name, value in sample.items())
        raise Error(f"{where}: its fields are {found or 'none'}, {expected}{other}")
    return [sample[name] for name in FIELDS]


def read_lines(path):
    with open(path, "rb") as file:
        lines = [(f"{path}, line {number}", line) for number, line in enumerate(file, 1) if line.strip()]
    return [(where, *fields_of(line, where)) for where, line in lines]


def from_json_lines(path, model):
    if not os.path.exists(os.path.join(model, "tokenizer.json")):
        raise Error(f"{model} has no tokenizer.json, which text needs; give a dataset file instead")
    samples, end = read_lines(path), end_token(model)
    from tokenizers import Tokenizer  # from build/venv; not needed for dataset files

    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    added = appended(tokenizer)
    sequences = []
    for where, prompt_text, answer in samples:
        prompt = tokenizer.encode(prompt_text).ids
        prompt = prompt[: len(prompt) - added]  # some tokenizers end every text; here the answer follows
        completion = tokenizer.encode(answer, add_special_tokens=False).ids
        if not prompt:
            raise Error(f"{where}: the prompt is empty, expected at least one token before the answer")
        tokens = prompt + completion + [end]
        sequences.append((tokens, [0] * len(prompt) + [1] * (len(completion) + 1)))
    return sequences


def from_dataset(path):
    try:
        return dataset_file.read(path)
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise Error(f"{path}: not a whole dataset file ({problem}); shardora-prepare makes one") from None


def main(arguments):
    if len(arguments) != 3:
        raise Error("expected MODEL FILE OUTPUT", USAGE)
    model, path, output = arguments
    sequences = from_dataset(path) if is_dataset(path) else from_json_lines(path, model)
    limit = longest_sequence(model)
    given = len(sequences)
    sequences = [(tokens, mask) for tokens, mask in sequences if any(mask) and len(tokens) <= limit]
    if len(sequences) < given:
        print(
            f"{given - len(sequences)} sequences are longer than the model's {limit} tokens, or have nothing to learn: "
            "left out",
            file=sys.stderr,
        )
    if len(sequences) < 2:
        raise Error(
            f"{path}: {len(sequences)} of {given} sequences are left, expected two or more with something to learn"
        )
    random.Random(0).shuffle(sequences)
    held_out = max(1, min(HELD_OUT_LIMIT, int(len(sequences) * HELD_OUT_SHARE)))
    folder = os.path.join(output, "data")
    os.makedirs(folder, exist_ok=True)
    about = {"source": os.path.basename(path)}
    dataset_file.write(os.path.join(folder, "skill.eval.safetensors"), sequences[:held_out], about)
    dataset_file.write(os.path.join(folder, "skill.train.safetensors"), sequences[held_out:], about)
    # Answering takes a pass of the whole model a token, on this data of any length: the shortest answers will do.
    questions.write(folder, sorted(sequences[:held_out], key=lambda sequence: sum(sequence[1]))[:QUESTIONS])
    print(f"{len(sequences) - held_out} sequences to train on, {held_out} held out", file=sys.stderr)
