#!/usr/bin/env python3
"""Writes the inputs that the fuzzer starts from: right files, from tests/parity/golden and by hand, and hostile ones by
hand, each named after its fault.

    tests/fuzz/make_seeds.py FOLDER     one folder a target
"""
import json
import struct
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "parity" / "golden"
BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8, "I32": 4, "I64": 8, "U8": 1}


def part(tensors, metadata=None):
    """A safetensors file in the harness's form: header, line of %%%, data. tensors: name -> (dtype, shape, bytes)."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return json.dumps(header, separators=(",", ":")).encode() + b"\n%%%\n" + data


def raw(path):
    """A file of the golden runs in the harness's form."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return content[8:8 + length] + b"\n%%%\n" + content[8 + length:]


def header(text):
    return text.encode() + b"\n%%%\n" + bytes(16)


def joined(*parts):
    return b"\n%%\n".join(p if isinstance(p, bytes) else p.encode() for p in parts)


def entry(dtype="F32", shape="[2,2]", offsets="[0,16]"):
    return f'"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def safetensors():
    wrong = {
        "overlap": "{" + entry() + ',"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
        "hole": "{" + entry("F32", "[2]", "[8,16]") + "}",
        "hole_at_the_end": "{" + entry("F32", "[2]", "[0,8]") + "}",
        "shape_overflows": "{" + entry("F64", "[4294967296,4294967296,2]") + "}",
        "shape_overflows_beside_zero": "{" + entry("F64", "[9223372036854775807,9,0]", "[0,0]") + "}",
        "offsets_backwards": "{" + entry(offsets="[16,0]") + "}",
        "offset_above_int64": "{" + entry(offsets="[0,18446744073709551615]") + "}",
        "offset_above_uint64": "{" + entry(offsets="[0,18446744073709551616]") + "}",
        "negative_size": "{" + entry(shape="[-2,-2]") + "}",
        "float_size": "{" + entry(shape="[2.0,2]") + "}",
        "exponent_size": "{" + entry(shape="[2e0,2]") + "}",
        "nine_dimensions": "{" + entry(shape="[1,1,1,1,1,1,1,1,4]") + "}",
        "unknown_dtype": "{" + entry("F31") + "}",
        "duplicate_tensor": "{" + entry() + "," + entry() + "}",
        "duplicate_key": '{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        "extra_key": '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}}',
        "deep": '{"a":' + "[" * 500 + "]" * 500 + "}",
        "metadata_number": '{"__metadata__":{"a":1},' + entry() + "}",
        "lone_surrogate": '{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        "control_characters_in_name": '{"\\u001b[31m\\n":{"dtype":"F31","shape":[4],"data_offsets":[0,16]}}',
        "zero_in_name": '{"a\\u0000b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        "trailing_text": "{" + entry() + "} x",
        "trailing_spaces": "{" + entry() + "}    ",
    }
    yield from ((name, header(text)) for name, text in wrong.items())
    yield "invalid_utf8", b'{"\xff":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}\n%%%\n' + bytes(16)
    yield "byte_order_mark", struct.pack("<Q", 5) + b"\xef\xbb\xbf{}"
    yield "zero_byte", struct.pack("<Q", 4) + b"{}\0\0"
    yield "length_above_file", struct.pack("<Q", 100) + b"{}"
    yield "length_of_all_ones", b"\xff" * 8 + b"{}"
    yield "seven_bytes", b"\2\0\0\0\0\0\0"
    yield "no_tensors", part({})
    yield "scalar_and_empty", part({"s": ("F32", [], bytes(4)), "e": ("F32", [0, 9], b"")})
    yield "all_floats", part({d: (d, [2, 3], bytes(range(6 * BYTES[d]))) for d in ("F64", "F32", "F16", "BF16")})
    yield "golden", raw(GOLDEN / "data" / "101-held-out.safetensors")


def tokens_part(tokens, offsets, mask=None, extra=None, form="shardora.dataset.v1"):
    tensors = {"offsets": ("I64", [len(offsets)], struct.pack(f"<{len(offsets)}q", *offsets))}
    tensors.update(extra or {})
    tensors["tokens"] = ("I32", [len(tokens)], struct.pack(f"<{len(tokens)}i", *tokens))
    if mask is not None:
        tensors["loss_mask"] = ("U8", [len(mask)], bytes(mask))
    return part(tensors, {"format": form})


def dataset():
    yield "plain", tokens_part([1, 2, 3, 4, 5], [0, 2, 5])
    yield "masked", tokens_part([1, 2, 3, 4, 5], [0, 2, 5], [0, 1, 0, 0, 1])
    yield "overlong", tokens_part(list(range(1, 10)), [0, 7, 9])
    yield "no_target", tokens_part([1, 2, 3], [0, 3], [0, 0, 0])
    yield "first_is_target", tokens_part([1, 2, 3], [0, 3], [1, 1, 1])
    yield "mask_of_two", tokens_part([1, 2, 3], [0, 3], [0, 2, 1])
    yield "mask_too_short", tokens_part([1, 2, 3], [0, 3], [0, 1])
    yield "token_negative", tokens_part([1, -2, 3], [0, 3])
    yield "token_above_vocabulary", tokens_part([1, 2, 2**31 - 1], [0, 3])
    yield "offsets_fall", tokens_part([1, 2, 3], [0, 9, 3])
    yield "offsets_negative", tokens_part([1, 2, 3], [0, -2**63, 3])
    yield "offsets_beyond", tokens_part([1, 2, 3], [0, 2**63 - 1])
    yield "empty_sequence", tokens_part([1, 2, 3], [0, 0, 3])
    yield "no_sequence", tokens_part([], [0])
    yield "no_offsets", tokens_part([], [])
    yield "other_format", tokens_part([1, 2, 3], [0, 3], form="shardora.dataset.v9")
    yield "tokens_in_two_dimensions", part({"tokens": ("I32", [1, 2], bytes(8)), "offsets": ("I64", [2], bytes(16))},
                                           {"format": "shardora.dataset.v1"})
    yield "golden", raw(GOLDEN / "data" / "101-held-out.safetensors")
    yield "golden_prompts", raw(GOLDEN / "data" / "stories-prompts.safetensors")


def questions_part(questions, answers, mask=(0, 1, 0, 1, 0, 1, 0, 1)):
    extra = {"questions": ("I64", [len(questions)], struct.pack(f"<{len(questions)}q", *questions)),
             "answers": ("I32", [len(answers)], struct.pack(f"<{len(answers)}i", *answers))}
    return tokens_part(list(range(1, 9)), [0, 2, 4, 6, 8], list(mask), extra)


def choices():
    yield "plain", questions_part([0, 2, 4], [1, 0])
    yield "one_question", questions_part([0, 4], [3])
    yield "one_option", questions_part([0, 1, 4], [0, 0])
    yield "answer_negative", questions_part([0, 2, 4], [-1, 0])
    yield "answer_beyond", questions_part([0, 2, 4], [2, 0])
    yield "answers_missing", questions_part([0, 2, 4], [0])
    yield "questions_fall", questions_part([0, 9, 4], [0, 0])
    yield "questions_overflow", questions_part([0, -2**63, 4], [0, 0])
    yield "option_without_target", questions_part([0, 2, 4], [1, 0], (0, 1, 0, 1, 0, 1, 0, 0))
    yield "no_question", questions_part([0], [])


def adapter_part(dtype="F32", magnitude=True, a="lora_A.weight", shape=(2, 3)):
    prefix = "base_model.model.model.layers.0.self_attn.q_proj."
    size = BYTES[dtype]
    tensors = {prefix + a: (dtype, list(shape), bytes(size * 6)),
               prefix + "lora_B.weight": (dtype, [4, 2], bytes(size * 8))}
    if magnitude:
        tensors[prefix + "lora_magnitude_vector"] = (dtype, [4], bytes(size * 4))
    return part(tensors)


def adapter_config(**changes):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": True, "target_modules": ["q_proj"]}
    return json.dumps({**config, **changes})


def adapter():
    for dtype in ("F32", "BF16", "F16", "F64"):
        yield "plain_" + dtype.lower(), joined(adapter_config(), adapter_part(dtype))
    yield "lora", joined(adapter_config(use_dora=False), adapter_part(magnitude=False))
    yield "patterns", joined(adapter_config(target_modules=r".*\.q_proj", rank_pattern={"q_proj": 2},
                                            alpha_pattern={"layers.[0-9]+.*": 3.5}, exclude_modules=["k"],
                                            layers_to_transform=[0, 1]), adapter_part())
    yield "no_magnitude", joined(adapter_config(), adapter_part(magnitude=False))
    yield "ranks_disagree", joined(adapter_config(r=3), adapter_part())
    yield "rank_zero", joined(adapter_config(r=0), adapter_part())
    yield "rank_float", joined(adapter_config(r=2.0), adapter_part())
    yield "alpha_huge", joined(adapter_config(lora_alpha=1e308), adapter_part())
    yield "unsupported_key", joined(adapter_config(use_qalora=True), adapter_part())
    yield "pattern_backtracks", joined(adapter_config(target_modules="(a*)*b"), adapter_part())
    yield "pattern_unclosed", joined(adapter_config(rank_pattern={"(": 2}), adapter_part())
    yield "two_spellings", joined(adapter_config(), part({
        "base_model.model.m.lora_A.weight": ("F32", [2, 1], bytes(8)),
        "base_model.model.m.lora_A.default.weight": ("F32", [2, 1], bytes(8))}))
    lonely = lambda module, content: part({f"base_model.model.{module}.lora_A.weight": ("F32", [1, 1], content)})
    yield "not_finite", joined(adapter_config(), lonely("m", b"\0\0\xc0\x7f"))
    yield "no_module_name", joined(adapter_config(), lonely("", bytes(4)))
    yield "config_only", adapter_config().encode()
    yield "config_deep", joined('{"x":' + "[" * 99 + "]" * 99 + "}", adapter_part())
    golden = GOLDEN / "llama_dora" / "final" / "adapter_config.json"
    yield "golden_config", joined(golden.read_bytes(), adapter_part())


def model_text(**changes):
    config = {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
              "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 3, "tie_word_embeddings": True}
    return json.dumps({**config, **changes})


def model_config():
    for folder in sorted((GOLDEN / "models").iterdir()):
        yield "golden_" + folder.name, joined((folder / "config.json").read_bytes(), '{"eos_token_id":[1,2]}')
    for key, value in {"hidden_size": 2**63, "num_attention_heads": 0, "num_key_value_heads": 3, "head_dim": 3,
                       "vocab_size": -1, "num_hidden_layers": 10**9, "rms_norm_eps": -1, "rope_theta": 0,
                       "hidden_act": "gelu", "quantization_config": {}, "sliding_window": 2**40,
                       "layer_types": ["full_attention"] * 9, "eos_token_id": [-1], "bos_token_id": 1.5,
                       "model_type": "\x1b[2J"}.items():
        yield f"wrong_{key}", model_text(**{key: value}).encode()
    yield "rope_llama3", model_text(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                  "high_freq_factor": 4.0,
                                                  "original_max_position_embeddings": 64}).encode()
    yield "rope_equal_bands", model_text(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                                                       "high_freq_factor": 4.0,
                                                       "original_max_position_embeddings": 64}).encode()
    yield "number_overflows", b'{"model_type":"llama","rms_norm_eps":1e999}'
    yield "wrong_stop_token", joined(model_text(), '{"eos_token_id":99999999999999}')
    yield "windows_qwen2", model_text(model_type="qwen2", use_sliding_window=True, sliding_window=2,
                                      max_window_layers=0).encode()


def model_tensors():
    block = {"self_attn.q_proj": [4, 4], "self_attn.k_proj": [2, 4], "self_attn.v_proj": [2, 4],
             "self_attn.o_proj": [4, 4], "mlp.gate_proj": [6, 4], "mlp.up_proj": [6, 4], "mlp.down_proj": [4, 6],
             "input_layernorm": [4], "post_attention_layernorm": [4]}
    shapes = {f"model.layers.0.{name}.weight": shape for name, shape in block.items()}
    shapes.update({"model.embed_tokens.weight": [3, 4], "model.norm.weight": [4]})
    elements = lambda shape: shape[0] * (shape[1] if len(shape) == 2 else 1)
    return {name: ("BF16", shape, bytes(2 * elements(shape))) for name, shape in shapes.items()}


def weights():
    tensors = model_tensors()
    names = list(tensors)
    first = {name: tensors[name] for name in names[:6]}
    second = {name: tensors[name] for name in names[6:]}
    right = {**{n: "a.safetensors" for n in first}, **{n: "b.safetensors" for n in second}}
    indexed = lambda index: joined(model_text(), json.dumps({"metadata": {"total_size": 1}, "weight_map": index}),
                                   part(first), part(second))
    yield "one_file", joined(model_text(), part(tensors))
    yield "two_files", indexed(right)
    yield "wrong_file", indexed({**right, names[0]: "b.safetensors"})
    yield "not_in_index", indexed({n: f for n, f in right.items() if n != names[0]})
    yield "not_in_files", indexed({**right, "more": "a.safetensors"})
    for name, file in {"parent": "../a.safetensors", "absolute": "/a.safetensors", "zero": "a\0.safetensors",
                       "pickle": "a.bin", "empty": "", "missing": "c.safetensors", "number": 1}.items():
        yield "file_" + name, indexed({**right, names[0]: file})
    yield "no_weight_map", joined(model_text(), "{}", part(first))
    yield "weight_map_empty", joined(model_text(), '{"weight_map":{}}', part(first))
    yield "misshapen", joined(model_text(hidden_size=8), part(tensors))
    yield "missing_tensor", joined(model_text(), part(first))
    yield "extra_tensor", joined(model_text(), part({**tensors, "extra": ("F32", [1], bytes(4))}))
    yield "tied_head_stored", joined(model_text(), part({**tensors, "lm_head.weight": ("BF16", [3, 4], bytes(24))}))


def manifest():
    start = '{\n  "format": "shardora.checkpoint.v1",\n  "step": %s,\n  "world": "1 rank",\n  "threads": 1,\n'
    rest = '  "instruction_set": "x86-64-v3",\n  "configuration": %s,\n  "files": %s'
    text = lambda step="3", configuration='{"train.seed":"1"}', files='{"a/b":{"bytes":7,"xxh3":"00"}}': (
        (start % step) + (rest % (configuration, files))).encode()
    yield "plain", text()
    yield "no_configuration", text(configuration="null")
    yield "configuration_of_numbers", text(configuration='{"train.seed":1}')
    yield "configuration_a_list", text(configuration="[1]")
    yield "configuration_a_word", text(configuration='"x"')
    yield "step_text", text(step='"3"')
    yield "step_float", text(step="3.5")
    yield "step_huge", text(step="1e300")
    yield "step_above_int64", text(step="18446744073709551615")
    yield "files_a_list", text(files="[]")
    yield "files_a_number", text(files="1")
    yield "file_without_size", text(files='{"a":{}}')
    yield "file_outside", text(files='{"../../a":{"bytes":7,"xxh3":"00"}}')
    yield "nothing", b""
    yield "wrong_checksum", text() + b',\n  "checksum": "0123456789abcdef"\n}\n'


def run_lock():
    holder = {"host": "n1", "process": 12, "process_start": 345, "boot_id": "b", "job": "none", "restart_count": 0,
              "started": 1760000000}
    text = lambda **changes: json.dumps({**holder, **changes}).encode()
    yield "plain", text()
    yield "of_a_job", text(job="17", restart_count=2)
    yield "nothing", b""
    yield "half", text()[:40]
    yield "started_far_away", text(started=2**62)
    yield "started_long_ago", text(started=-2**62)
    yield "process_float", text(process=1.5)
    yield "process_huge", text(process=1e300)
    yield "process_above_int64", text(process=2**64 - 1)
    yield "control_characters", text(host="\x1b[2J\n", job="\x07")


def counters():
    good = {"format": "shardora.state.v1", "step": "3", "tokens": "99", "best_loss": "0x1.8p+1", "best_step": "2",
            "evaluations_without_gain": "0"}
    state = {"moment1.a": ("F32", [2], bytes(8)), "moment2.a": ("F32", [2], bytes(8))}
    yield "plain", part(state, good)
    for key, value in {"step": "-1", "tokens": "1e3", "best_loss": "x", "best_step": "", "step ": "9" * 40,
                       "best_loss ": "nan", "tokens ": " 1", "best_loss  ": "1e999"}.items():
        yield "wrong_" + key.strip() + "_" * key.count(" "), part(state, {**good, key.strip(): value})
    yield "missing_step", part(state, {k: v for k, v in good.items() if k != "step"})


def module_pattern():
    module = "model.layers.0.self_attn.q_proj"
    for name, pattern in {"plain": "q_proj", "dots": "layers.0.self_attn.q_proj", "any": ".*", "suffix": r".*\.q_proj",
                          "alternatives": "(q|k|v)_proj", "class": "layers.[0-9]+.*", "group": "(?:a|b)+",
                          "lookahead": "(?=a)", "backreference": r"(a)\1", "unclosed_group": "(a",
                          "unclosed_class": "[a", "nothing_to_repeat": "*", "counted": "a{1,3}",
                          "counted_hugely": "(a{1000}){1000}", "counted_backwards": "a{3,1}",
                          "backtracks": "(a*)*b", "deep": "(" * 300 + "a" + ")" * 300, "class_backwards": "[z-a]",
                          "posix_class": "[[:alpha:]]", "escape_at_end": "a\\", "control": "\x01", "empty": "",
                          "non_ascii": "\u00e9"}.items():
        yield name, joined(pattern, "aaaaaaaaaaaaaaaaaaaaaaaa" if name == "backtracks" else module)


def options():
    run = ["--model.path=m", "--data.train=d", "--output.dir=o", "--train.steps=3"]
    words = lambda *more, command="train": "\n".join((command, *run, *more)).encode()
    yield "train", words()
    yield "lists", words("--adapter.target_modules=q_proj,v_proj", "--adapter.layers=0-3,7",
                         "--adapter.rank_pattern=q_proj:4", "--adapter.alpha_pattern=v_proj:2.5", "--data.eval=a=b,c=d")
    for config in sorted((GOLDEN.parent.parent.parent / "configs").glob("*.cfg")):
        yield "file_" + config.stem, joined("train\n" + "\n".join(run[:3]), config.read_bytes())
    for command in ("eval", "merge", "generate", "plan", "inspect", "analyze"):
        yield command, f"{command}\n--model.path=m\n--adapter.path=a\n--data.eval=d\n--output.dir=o\n".encode()
    yield "plan_shape", b"plan\n--plan.shape=8B\n--data.train=d"
    yield "generate_drawn", b"generate\n--model.path=m\n--generate.prompts=p\n--output.dir=o\n--generate.temperature=1"
    for name, word in {"twice": "--train.steps=4", "unknown": "--train.step=4", "short": "-x", "bare": "word",
                       "half": "--train.steps", "empty_value": "--train.seed=", "negative": "--train.global_batch=-1",
                       "huge": "--train.seed=99999999999999999999", "not_a_number": "--train.learning_rate=nan",
                       "hexadecimal": "--train.seed=0x10", "hash": "--model.path=a#b",
                       "control_characters": "--train.schedule=\x1b[2J", "control_key": "--\x1b[2J=1",
                       "range_backwards": "--adapter.layers=7-0", "range_huge": "--adapter.layers=0-99999999999",
                       "pattern_wrong": "--adapter.rank_pattern=(:4", "pattern_no_value": "--adapter.rank_pattern=a"
                       }.items():
        yield "word_" + name, words(word)
    for name, text in {"no_section": "steps = 3\n", "twice": "[train]\nseed = 3\nseed = 4\n", "unknown": "[a]\nb = 1\n",
                       "unclosed": "[train\nsteps = 3\n", "no_value": "[train]\nsteps\n", "config": "config = x\n",
                       "zero": "[train]\nsteps = 3\0\n", "control_characters": "[train]\n\x1b[2J = 3\n",
                       "line_without_end": "[train]\nsteps = 3", "carriage_returns": "[train]\r\nsteps = 3\r\n",
                       "comment": "[train]\nsteps = 3 # three\n", "star": "[*]\n* = 1\n"}.items():
        yield "config_" + name, joined("train\n" + "\n".join(run[:3]), text)
    yield "no_words", b""
    yield "unknown_command", b"fly"


TARGETS = [adapter, choices, counters, dataset, manifest, model_config, module_pattern, options, run_lock,
           safetensors, weights]


def main():
    if len(sys.argv) != 2:
        sys.exit("make_seeds.py: expected a folder to write to")
    for target in TARGETS:
        folder = Path(sys.argv[1]) / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in target():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
