"""Writes what the quickstart trains on: a folder for a small Llama without weights, and its dataset files.

python3 -m shardora.quickstart make OUTPUT      writes OUTPUT/seed_model and OUTPUT/data
"""

import json
import os

from shardora import dataset_file
from shardora.errors import USAGE, Error
from shardora.quickstart import bytes_tokenizer as tokenizer
from shardora.quickstart import questions, sentences

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": tokenizer.VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "max_position_embeddings": 256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "tie_word_embeddings": True,
    "initializer_range": 0.08,
    "use_cache": True,
    "bos_token_id": tokenizer.BEGIN,
    "eos_token_id": tokenizer.END,
    "pad_token_id": tokenizer.PADDING,
    "torch_dtype": "float32",
}
GENERATION = {
    "bos_token_id": tokenizer.BEGIN,
    "eos_token_id": tokenizer.END,
    "pad_token_id": tokenizer.PADDING,
    "do_sample": False,
    "max_new_tokens": 80,
}
ANSWERS = 100  # held-out sentences whose answers are counted


def plain(page):
    """The base model's material: a page and its end, every token a target."""
    tokens = [tokenizer.BEGIN, *tokenizer.encode(page), tokenizer.END]
    return tokens, [0] + [1] * (len(tokens) - 1)


def skill(sentence, answer):
    """The adapter's material: the sentence is given, the answer and its end are the targets."""
    prompt = [tokenizer.BEGIN, *tokenizer.encode(sentence + "\n")]
    completion = [*tokenizer.encode(answer), tokenizer.END]
    return prompt + completion, [0] * len(prompt) + [1] * len(completion)


def make(output):
    model = os.path.join(output, "seed_model")
    data = os.path.join(output, "data")
    for folder in (model, data):
        os.makedirs(folder, exist_ok=True)
    for name, value in (("config.json", CONFIG), ("generation_config.json", GENERATION)):
        with open(os.path.join(model, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
    tokenizer.write(model)

    training = sentences.samples(8000, evaluation=False, seed=1)
    evaluation = sentences.samples(200, evaluation=True, seed=2)
    about = {"source": "shardora.quickstart"}
    files = {
        "pages.train": [plain(page) for page in sentences.pages(12000, evaluation=False, seed=3)],
        "pages.eval": [plain(page) for page in sentences.pages(200, evaluation=True, seed=4)],
        "skill.train": [skill(*sample) for sample in training],
        "skill.eval": [skill(*sample) for sample in evaluation],
    }
    for name, sequences in files.items():
        dataset_file.write(os.path.join(data, name + ".safetensors"), sequences, about)
    questions.write(data, files["skill.eval"][:ANSWERS])


def main(arguments):
    if len(arguments) != 1:
        raise Error("make: expected OUTPUT", USAGE)
    make(*arguments)
