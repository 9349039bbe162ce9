"""Prepares a reader's own data: a dataset file, or JSON Lines with "prompt" and "completion", becomes a training part
and a held-out part, and questions from the latter.

    split.py MODEL FILE OUTPUT      writes OUTPUT/data
"""

import json
import os
import random
import struct
import sys

import dataset
import questions

HELD_OUT_SHARE, HELD_OUT_LIMIT, QUESTIONS = 0.1, 200, 5


def is_dataset(path):
    """A safetensors file starts with its header's length and an opening brace; JSON Lines start with the brace."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < os.path.getsize(path)


def longest_sequence(model):
    """The model's limit, or none where its configuration names none."""
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        return json.load(file).get("max_position_embeddings") or sys.maxsize


def end_token(model):
    """The id that ends a text: generation_config.json knows best, then config.json."""
    for name in ("generation_config.json", "config.json"):
        path = os.path.join(model, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                token = json.load(file).get("eos_token_id")
            if token is not None:
                return token[0] if isinstance(token, list) else token
    sys.exit(f"{model}: neither generation_config.json nor config.json has eos_token_id, expected the id that ends a text")


def from_json_lines(path, model):
    if not os.path.exists(os.path.join(model, "tokenizer.json")):
        sys.exit(f"{model} has no tokenizer.json, which text needs; give a dataset file instead")
    from tokenizers import Tokenizer  # from build/venv; not needed for dataset files

    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    end = end_token(model)
    sequences = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                sample = json.loads(line)
                prompt = tokenizer.encode(sample["prompt"]).ids
                completion = tokenizer.encode(sample["completion"], add_special_tokens=False).ids
            except (ValueError, KeyError, TypeError) as problem:
                sys.exit(f'{path}, line {number}: expected {{"prompt": "…", "completion": "…"}}: {problem!r}')
            if prompt and prompt[-1] == end:  # some tokenizers end every text; here the answer follows
                prompt.pop()
            if not prompt:
                sys.exit(f"{path}, line {number}: the prompt is empty, expected at least one token before the answer")
            tokens = prompt + completion + [end]
            sequences.append((tokens, [0] * len(prompt) + [1] * (len(completion) + 1)))
    return sequences


def main(model, path, output):
    sequences = dataset.read(path) if is_dataset(path) else from_json_lines(path, model)
    limit = longest_sequence(model)
    given = len(sequences)
    sequences = [(tokens, mask) for tokens, mask in sequences if any(mask) and len(tokens) <= limit]
    if len(sequences) < given:
        print(f"{given - len(sequences)} sequences are longer than the model's {limit} tokens, or have nothing to learn: "
              "left out", file=sys.stderr)
    if len(sequences) < 2:
        sys.exit(f"{path}: {len(sequences)} of {given} sequences are left, expected two or more with something to learn")
    random.Random(0).shuffle(sequences)
    held_out = max(1, min(HELD_OUT_LIMIT, int(len(sequences) * HELD_OUT_SHARE)))
    folder = os.path.join(output, "data")
    os.makedirs(folder, exist_ok=True)
    about = {"source": os.path.basename(path)}
    dataset.write(os.path.join(folder, "skill.eval.safetensors"), sequences[:held_out], about)
    dataset.write(os.path.join(folder, "skill.train.safetensors"), sequences[held_out:], about)
    # Answering takes a pass of the whole model a token, on this data of any length: the shortest answers will do.
    questions.write(folder, sorted(sequences[:held_out], key=lambda sequence: sum(sequence[1]))[:QUESTIONS])
    print(f"{len(sequences) - held_out} sequences to train on, {held_out} held out", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("split.py MODEL FILE OUTPUT")
    main(*sys.argv[1:])
