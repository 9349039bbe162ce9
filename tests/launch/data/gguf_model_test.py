"""A small made-up GGUF file becomes a Hugging Face folder: names, shapes, order of rows, rounding, tokenizer, refusals."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from tiny import CHATML, PROGRAM, needs_packages
from tiny import MERGES as MERGES_OF_WORDS

HAS_GGUF = importlib.util.find_spec("gguf") is not None
if HAS_GGUF:
    import gguf
    import numpy

    from shardora.quickstart import gguf_model

WIDTH, INNER, HEADS, KEY_VALUE_HEADS, HEAD, LAYERS = 64, 96, 4, 2, 16, 2
MERGES = [*MERGES_OF_WORDS, ("Ġ", "1"), ("1", "2")]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SHAPES = {
    "self_attn.q_proj": (64, 64),
    "self_attn.k_proj": (32, 64),
    "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (96, 64),
    "mlp.up_proj": (96, 64),
    "mlp.down_proj": (64, 96),
    "input_layernorm": (64,),
    "post_attention_layernorm": (64,),
}
GGUF_NAMES = dict(
    zip(SHAPES, "attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down attn_norm ffn_norm".split())
)


def vocabulary():
    from tokenizers import pre_tokenizers

    return SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()) + [left + right for left, right in MERGES]


def for_llama_cpp(rows, heads):
    """As llama.cpp's convert_hf_to_gguf.py permutes q and k."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def bfloat16_of(path):
    """Tensors of a safetensors file, as floats."""
    data = pathlib.Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    found = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in tensor["data_offsets"])
            bits = numpy.frombuffer(data[begin:end], "<u2").astype(numpy.uint32) << 16
            found[name] = bits.view(numpy.float32).reshape(tensor["shape"])
            assert tensor["dtype"] == "BF16"
    return found


@unittest.skipUnless(HAS_GGUF, "the Python package gguf is missing (launch/install.sh tests)")
@needs_packages
class FromGguf(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        draw = numpy.random.default_rng(0)
        # Multiples of 1/64 up to 2 are whole in bfloat16.
        self.weights = {
            f"model.layers.{layer}.{part}.weight": draw.integers(-127, 128, shape).astype(numpy.float32) / 64
            for layer in range(LAYERS)
            for part, shape in SHAPES.items()
        }
        self.weights["model.embed_tokens.weight"] = draw.standard_normal((len(vocabulary()), WIDTH), numpy.float32)
        self.weights["model.norm.weight"] = numpy.ones(WIDTH, numpy.float32)

    def write(self, architecture="llama", pre="smollm", extra=None, eos=2):
        path = self.folder / "tiny.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_block_count(LAYERS)
        writer.add_context_length(128)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(INNER)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KEY_VALUE_HEADS)
        writer.add_rope_freq_base(100000.0)
        writer.add_layer_norm_rms_eps(1e-5)
        tokens = vocabulary()
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
        writer.add_token_merges([" ".join(merge) for merge in MERGES])
        writer.add_bos_token_id(1)
        if eos is not None:
            writer.add_eos_token_id(eos)
        writer.add_unk_token_id(0)
        writer.add_chat_template(CHATML)
        for name, values in self.weights.items():
            self.add(writer, name, values)
        if extra:
            writer.add_tensor(extra, numpy.ones(32, numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def add(self, writer, name, values):
        if name == "model.embed_tokens.weight":
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor("token_embd.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", values)
        else:
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_VALUE_HEADS}.get(part)
            values = for_llama_cpp(values, heads) if heads else values
            writer.add_tensor(f"blk.{layer}.{GGUF_NAMES[part]}.weight", numpy.ascontiguousarray(values))

    def model(self, **how):
        gguf_model.convert(str(self.write(**how)), str(self.folder / "model"))
        return self.folder / "model"

    def test_every_tensor_has_its_name_shape_and_values_and_rows_of_q_and_k_come_back_in_order(self):
        found = bfloat16_of(self.model() / "model.safetensors")
        self.assertEqual(set(found), set(self.weights))
        embedding = found.pop("model.embed_tokens.weight")
        self.assertEqual(embedding.shape, (len(vocabulary()), WIDTH))
        self.assertLess(abs(embedding - self.weights["model.embed_tokens.weight"]).max(), 0.3)  # of 4 bits
        for name, values in found.items():
            numpy.testing.assert_array_equal(values, self.weights[name], name)

    def test_floats_are_rounded_to_nearest_ties_to_even(self):
        given = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -2.5, 0.0, -1e-40]
        bits = gguf_model.bfloat16(numpy.array(given, numpy.float32)).astype(numpy.uint32) << 16
        numpy.testing.assert_array_equal(
            bits.view(numpy.float32)[:5], numpy.array([1, 1 + 2**-6, 1 + 2**-7, -2.5, 0], numpy.float32)
        )

    def test_the_configuration_is_the_files(self):
        folder = self.model()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        wanted = {"hidden_size": 64, "num_key_value_heads": 2, "head_dim": 16, "rope_theta": 100000.0,
                  "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "eos_token_id": 2}  # fmt: skip
        self.assertEqual({name: config[name] for name in wanted}, wanted)
        self.assertEqual(json.loads((folder / "generation_config.json").read_text("utf-8"))["eos_token_id"], 2)

    def test_the_program_finds_no_fault_in_it(self):
        if not PROGRAM.exists():
            self.skipTest(f"{PROGRAM} is not built (SHARDORA_PROGRAM)")
        done = subprocess.run([PROGRAM, "inspect", f"--model.path={self.model()}"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])["problems"], [])

    def test_text_comes_back_and_digits_and_marks_are_single_tokens(self):
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(self.model())
        for text in ("the ok\n\nthe", "naïve 数字 ½ 😀", "  two  spaces \t", "<|im_start|>user\nhi<|im_end|>"):
            self.assertEqual(tokenizer.decode(tokenizer(text)["input_ids"]), text)
        self.assertEqual(tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True), "user\nhi")
        self.assertEqual(tokenizer.tokenize("the 12"), ["t", "he", "Ġ", "1", "2"])
        self.assertEqual((tokenizer.eos_token, tokenizer.unk_token), ("<|im_end|>", "<|endoftext|>"))
        asked = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False)
        self.assertEqual(asked, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")

    def refused(self, source):
        done = subprocess.run(
            [sys.executable, "-m", "shardora.quickstart", "gguf_model", source, self.folder / "model"],
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr.count("\n")), (65, 1), done.stderr)
        self.assertFalse((self.folder / "model" / "config.json").exists())
        return done.stderr

    def test_what_it_cannot_read_is_refused_in_one_line(self):
        self.assertIn("general.architecture is 'mamba', expected llama", self.refused(self.write("mamba")))
        self.assertIn("tokenizer.ggml.pre is 'qwen2', expected smollm", self.refused(self.write(pre="qwen2")))
        self.assertIn("eos_token_id is None, expected a value", self.refused(self.write(eos=None)))
        self.assertIn("a Llama has no tensor rope_freqs.weight", self.refused(self.write(extra="rope_freqs.weight")))
        path = self.write()
        path.write_bytes(path.read_bytes()[:-1000])
        self.assertIn("not a whole GGUF file", self.refused(path))
        path.write_bytes(b"no model")
        self.assertIn("not a whole GGUF file", self.refused(path))
        self.assertIn("expected a GGUF file, or an installed package that has one; found 0", self.refused("json"))


if __name__ == "__main__":
    unittest.main()
