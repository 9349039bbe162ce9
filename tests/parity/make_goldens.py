"""Makes tests/parity/golden: small models, datasets, and what PEFT and float64 training give on them.

    python make_goldens.py [--out FOLDER] [CASE…]

Committed files were made with torch 2.15.0, transformers 5.23.0, peft 0.21.2, numpy 2.4.6 (float64, one thread, fixed
seeds); made again with them they differ by rounding at most.

    models/<name>/             a Hugging Face folder
    data/<vocabulary>-train.safetensors, data/<vocabulary>-held-out.safetensors
    <case>/expected.json       arguments for `shardora train`, losses, gradient norms, learning rates, held-out losses
    <case>/init/               the adapter that training starts from, B not zero, m not the norm
    <case>/final/              the adapter after the last step; method full: a model
    <case>/step1_gradients.safetensors   every trained tensor's gradient before clipping, by its name on disk
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

import reference

STEPS, BATCH, PEAK, CLIP, RANK, ALPHA, NOISE = 6, 8, 2e-4, 1.0, 4, 8, 0.05

MODELS = {
    # name: family, storage, shape. Heads divide by 4 everywhere; 2 KV heads are fewer than 4 ranks.
    "llama": ("llama", torch.float32, dict(vocab_size=517)),
    "llama_biases": ("llama", torch.float32, dict(hidden_size=48, intermediate_size=76, num_attention_heads=4,
                                                  num_key_value_heads=2, attention_bias=True, mlp_bias=True)),
    "llama_tied": ("llama", torch.float32, dict(tie_word_embeddings=True, num_key_value_heads=8,
                                                rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.0))),
    "llama3_rope": ("llama", torch.float32, dict(num_attention_heads=4, num_key_value_heads=1, rope_parameters=dict(
        rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16))),
    "llama_bf16": ("llama", torch.bfloat16, dict(vocab_size=102)),
    "mistral": ("mistral", torch.float32, dict(sliding_window=8)),
    "qwen2": ("qwen2", torch.float32, dict(num_key_value_heads=2, vocab_size=102)),
    "qwen2_tied": ("qwen2", torch.float32, dict(num_key_value_heads=2, tie_word_embeddings=True)),
    "qwen3": ("qwen3", torch.float32, dict(num_attention_heads=4, num_key_value_heads=2, head_dim=12)),
}

DORA, LORA = dict(use_dora=True), dict(use_dora=False)
PATTERNS = dict(use_rslora=True, target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
                rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 6}, alpha_pattern={"v_proj": 12, "mlp.up_proj": 5})
PATTERN_ARGUMENTS = ["--adapter.rslora=true", "--adapter.target_modules=q_proj,v_proj,o_proj,up_proj,down_proj",
                     "--adapter.rank_pattern=q_proj:2, layers.1.mlp.down_proj:6",
                     "--adapter.alpha_pattern=v_proj:12, mlp.up_proj:5"]
SCHEDULE = dict(schedule="cosine", warmup=2, lowest=2e-5, weight_decay=0.1, magnitude_peak=1e-3, b_ratio=4.0,
                clip=1.2)  # above and below it
SCHEDULE_ARGUMENTS = ["--train.schedule=cosine", "--train.warmup_steps=2", "--train.min_learning_rate=2e-5",
                      "--train.weight_decay=0.1", "--train.magnitude_learning_rate=1e-3",
                      "--train.b_learning_rate_ratio=4"]

PEFT_CASES = {
    # case: model, PEFT settings, training settings, more arguments
    "llama_dora": ("llama", DORA, {}, []),
    "llama_lora": ("llama", LORA, {}, []),
    "llama_biases_dora": ("llama_biases", DORA, {}, []),
    "llama_biases_lora": ("llama_biases", LORA, {}, []),
    "llama_tied_dora": ("llama_tied", DORA, {}, []),
    "llama_tied_lora": ("llama_tied", LORA, {}, []),
    "llama3_rope_dora": ("llama3_rope", DORA, {}, []),
    "llama_bf16_dora": ("llama_bf16", DORA, {}, []),
    "mistral_dora": ("mistral", DORA, {}, []),
    "mistral_lora": ("mistral", LORA, {}, []),
    "qwen2_dora": ("qwen2", DORA, {}, []),
    "qwen2_lora": ("qwen2", LORA, {}, []),
    "qwen3_dora": ("qwen3", DORA, {}, []),
    "qwen3_lora": ("qwen3", LORA, {}, []),
    "patterns_dora": ("qwen2", DORA | PATTERNS, {}, PATTERN_ARGUMENTS),
    "patterns_lora": ("llama", LORA | PATTERNS, {}, PATTERN_ARGUMENTS),
    "schedule_dora": ("qwen2", DORA, SCHEDULE, SCHEDULE_ARGUMENTS),
}
OWN_CASES = {f"{model}_{axis}_{gradient}": (model, axis, gradient)
             for model in ("llama_biases", "qwen2")
             for axis, gradient in (("input", "detached"), ("input", "exact"), ("output", "exact"))}
FULL_CASES = {"full_llama_tied": ("llama_tied", {}, []), "full_qwen3": ("qwen3", {}, []),
              "full_qwen2_tied": ("qwen2_tied", SCHEDULE, SCHEDULE_ARGUMENTS)}


class Maker:
    def __init__(self, out):
        self.out = out

    def model_folder(self, name):
        folder = self.out / "models" / name
        if not folder.exists():
            family, dtype, shape = MODELS[name]
            reference.random_model(family, folder, dtype, seed=1, **shape)
            (folder / "generation_config.json").unlink(missing_ok=True)
            if name == "llama_tied":
                older_spelling(folder / "config.json")
        return folder

    def data(self, model, part):
        vocabulary = json.loads((self.model_folder(model) / "config.json").read_text())["vocab_size"]
        path = self.out / "data" / f"{vocabulary}-{part}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            sequences, seed = (11, 3) if part == "train" else (7, 4)
            reference.random_dataset(path, vocabulary, sequences, 24, seed)
        return path

    def load(self, name):
        return reference.load_model(self.model_folder(name), torch.float64)

    def begin(self, case):
        shutil.rmtree(self.out / case, ignore_errors=True)
        (self.out / case).mkdir(parents=True)
        return self.out / case

    def finish(self, case, name, model, settings, arguments, disk_name, more):
        """Trains what the case prepared and writes what came of it."""
        settings = dict(clip=CLIP) | settings
        constant = "schedule" not in settings
        held_out = reference.read_dataset(self.data(name, "held-out"))
        before = reference.evaluate(model, held_out)
        result, gradients = reference.train(model, reference.read_dataset(self.data(name, "train")), STEPS, BATCH, PEAK,
                                            **settings)
        base = reference.evaluate(self.load(name), held_out)
        after = reference.evaluate(model, held_out)
        save_file({disk_name(n): g.float().contiguous() for n, g in gradients.items()},
                  self.out / case / "step1_gradients.safetensors")
        expected = dict(model=f"models/{name}", train=f"data/{self.data(name, 'train').name}",
                        held_out=f"data/{self.data(name, 'held-out').name}", **more, arguments=arguments + [
                            f"--train.steps={STEPS}", f"--train.global_batch={BATCH}", f"--train.learning_rate={PEAK}",
                            f"--train.clip_norm={settings['clip']}", "--data.shuffle=false"] + (
                                ["--train.schedule=constant"] if constant else []),
                        clip_norm=settings["clip"], **result, held_out_loss=dict(base=base, init=before, final=after))
        (self.out / case / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        print(f"{case:28} loss {result['losses'][0]:.6f} -> {result['losses'][-1]:.6f}  norm {result['gradient_norms'][0]:.3f}"
              f"  held out: base {base:.4f} init {before:.4f} final {after:.4f}", flush=True)

    def peft(self, case, name, settings, training, arguments):
        folder = self.begin(case)
        model = reference.new_peft_adapter(self.load(name), seed=2, noise=NOISE, r=RANK, lora_alpha=ALPHA, **settings)
        reference.save_peft_adapter(model, folder / "init", f"models/{name}")
        model = reference.load_peft_adapter(self.load(name), folder / "init").eval()
        assert all(p.dtype == torch.float64 for p in model.parameters())
        method = "dora" if settings["use_dora"] else "lora"
        self.finish(case, name, model, training, [f"--adapter.method={method}", f"--adapter.rank={RANK}",
                                                  f"--adapter.alpha={ALPHA}"] + arguments,
                    reference.disk_name, dict(method=method, reference="PEFT"))
        reference.save_peft_adapter(model, folder / "final", f"models/{name}")

    def own(self, case, name, axis, gradient):
        folder = self.begin(case)
        model = reference.wrap_dora(self.load(name), RANK, ALPHA, axis, gradient, seed=2)
        reference.disturb(model, NOISE)
        with torch.no_grad():  # what the file holds is what training starts from
            for p in model.parameters():
                p.copy_(p.float())
        reference.save_dora_adapter(model, folder / "init", f"models/{name}", RANK, ALPHA, axis)
        self.finish(case, name, model, {}, ["--adapter.method=dora", f"--adapter.rank={RANK}", f"--adapter.alpha={ALPHA}",
                                            f"--adapter.magnitude_axis={axis}", f"--adapter.norm_gradient={gradient}"],
                    reference.dora_disk_name, dict(method="dora", reference="float64"))
        reference.save_dora_adapter(model, folder / "final", f"models/{name}", RANK, ALPHA, axis)

    def full(self, case, name, training, arguments):
        folder = self.begin(case)
        model = self.load(name).requires_grad_(True)
        self.finish(case, name, model, training, ["--adapter.method=full"] + arguments, lambda n: n,
                    dict(method="full", reference="transformers"))
        model.float().save_pretrained(folder / "final")
        (folder / "final" / "generation_config.json").unlink(missing_ok=True)

    def check_own_dora(self):
        """Our DoRA is PEFT's where both can speak."""
        data = reference.read_dataset(self.data("qwen2", "train"))
        theirs = reference.new_peft_adapter(self.load("qwen2"), noise=NOISE, r=RANK, lora_alpha=ALPHA, **DORA).eval()
        ours = reference.wrap_dora(self.load("qwen2"), RANK, ALPHA, "output", "detached")
        values = {reference.disk_name(n): p for n, p in theirs.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for n, p in ours.named_parameters():
                if p.requires_grad:
                    p.copy_(values[reference.dora_disk_name(n)])
        a, b = (reference.train(m, data, 4, BATCH, 1e-2)[0] for m in (theirs, ours))
        for key in ("losses", "gradient_norms"):
            worst = max(abs(x / y - 1) for x, y in zip(a[key], b[key]))
            assert worst < 1e-10, (key, worst)


def older_spelling(path):
    """The same configuration as transformers 4 wrote it."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="default: all")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "golden")
    arguments = parser.parse_args()
    maker = Maker(arguments.out)
    maker.check_own_dora()
    for cases, make in ((PEFT_CASES, maker.peft), (OWN_CASES, maker.own), (FULL_CASES, maker.full)):
        for case, what in cases.items():
            if not arguments.cases or case in arguments.cases:
                make(case, *what)


if __name__ == "__main__":
    main()
