"""Questions put to a model, and the answers expected: the untrained head of each held-out sequence is a prompt, its
trained tail the answer."""

import json
import os

from shardora import dataset_file

MOST_NEW_TOKENS = 128


def write(folder, sequences):
    """Writes prompts.safetensors, the expected answers, and generate.cfg, which asks for some more tokens than they
    have."""
    prompts, answers = [], []
    for tokens, mask in sequences:
        begin, end = mask.index(1), len(mask) - mask[::-1].index(1)  # a chat goes on behind the answer's end token
        prompts.append((tokens[:begin], [0] * begin))
        answers.append(tokens[begin:end])
    path = os.path.join(folder, "prompts.safetensors")
    dataset_file.write(path, prompts, {"source": "the heads of held-out sequences"})
    with open(os.path.join(folder, "answers.json"), "w", encoding="utf-8") as file:
        json.dump(answers, file)
    with open(os.path.join(folder, "generate.cfg"), "w", encoding="utf-8") as file:
        most = min(max(map(len, answers)) + 24, MOST_NEW_TOKENS)
        file.write(f"[generate]\nprompts = {path}\nmax_new_tokens = {most}\n")


def read(folder):
    """Pairs (prompt, answer) of token lists."""
    prompts = [tokens for tokens, _ in dataset_file.read(os.path.join(folder, "prompts.safetensors"))]
    with open(os.path.join(folder, "answers.json"), encoding="utf-8") as file:
        return list(zip(prompts, json.load(file)))
