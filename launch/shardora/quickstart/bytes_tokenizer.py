"""A byte-level tokenizer: token id = byte value, then beginning, end and padding. Small enough to be written by hand,
and a complete Hugging Face tokenizer, so that the models made with it load anywhere as text models."""

import json
import os

BEGIN, END, PADDING = 256, 257, 258
VOCABULARY = 264  # a multiple of 8, so that the head divides over tensor ranks


def encode(text):
    return list(text.encode())


def decode(tokens):
    return bytes(token for token in tokens if token < 256).decode(errors="replace")


def _byte_alphabet():
    """GPT-2's printable character for each byte, which the ByteLevel pre-tokenizer and decoder translate."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + k) for k, byte in enumerate(others)}


def write(folder):
    """Writes tokenizer.json and tokenizer_config.json."""
    specials = {"<s>": BEGIN, "</s>": END, "<pad>": PADDING}
    vocabulary = {character: byte for byte, character in _byte_alphabet().items()}
    added = [
        {
            "id": token,
            "content": text,
            "special": True,
            "normalized": False,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
        }
        for text, token in specials.items()
    ]
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BEGIN], "tokens": ["<s>"]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary | specials,
            "merges": [],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 256,
    }
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
