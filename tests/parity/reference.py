"""What shardora's answers are compared with: transformers and PEFT on our files, and a float64 DoRA of our own.

A step's loss is the sum over the target tokens of the whole global batch over their count; sequences come in file
order, `global_batch` a step, wrapping at the end. Everything runs in float64 where asked, RMSNorm and softmax too, so
that what a comparison sees is the program's own rounding.
"""
import contextlib
import json
import math
import os
import pathlib
import random
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)


@contextlib.contextmanager
def float64_everywhere():
    """transformers casts to torch.float32 by name inside RMSNorm and softmax; here that name means float64."""
    kept = torch.float32
    torch.float32 = torch.float64
    try:
        yield
    finally:
        torch.float32 = kept


def precision(dtype):
    return float64_everywhere() if dtype == torch.float64 else contextlib.nullcontext()


# ---- datasets -------------------------------------------------------------------------------------------------------


def write_dataset(path, sequences, masks):
    """shardora.dataset.v1"""
    tokens = np.concatenate(sequences).astype(np.int32)
    offsets = np.cumsum([0] + [len(s) for s in sequences]).astype(np.int64)
    save_file({"tokens": tokens, "offsets": offsets, "loss_mask": np.concatenate(masks).astype(np.uint8)}, path,
              metadata={"format": "shardora.dataset.v1"})  # one key: several come in random order


def read_dataset(path):
    """[(tokens, targets)], targets boolean, the first token never one."""
    d = load_file(path)
    at, tokens = d["offsets"], d["tokens"].astype(np.int64)
    mask = d.get("loss_mask", np.ones(len(tokens), np.uint8)).astype(bool)
    mask[[b for b, e in zip(at[:-1], at[1:]) if b < e]] = False
    return [(tokens[b:e], mask[b:e]) for b, e in zip(at[:-1], at[1:])]


def uneven_mask(rng, length):
    """Only a random tail of the sequence is a target."""
    mask = np.ones(length, np.uint8)
    mask[:rng.randint(1, max(1, length // 2))] = 0
    return mask


def random_dataset(path, vocabulary, sequences, longest, seed):
    """Ragged, unevenly masked; one sequence of a single token and one without any target among them."""
    rng = random.Random(seed)
    lengths = [rng.randint(3, longest) for _ in range(sequences)]
    lengths[2] = 1
    lengths[5] = longest
    tokens = [np.array([rng.randrange(vocabulary) for _ in range(n)]) for n in lengths]
    tokens[0][-1] = vocabulary - 1
    masks = [uneven_mask(rng, n) for n in lengths]
    masks[4][:] = 0
    write_dataset(path, tokens, masks)


def text_dataset(path, tokenizer_json, text, sequences, length, skip=0, seed=0, masked=True):
    """Ragged pieces of a text, `skip` characters into it, from length/4 to length tokens."""
    from tokenizers import Tokenizer
    tokenizer, rng = Tokenizer.from_file(str(tokenizer_json)), random.Random(seed)
    text, tokens, at = text[skip:], [], 0
    for _ in range(sequences):
        n = rng.randint(max(3, length // 4), length)
        piece = tokenizer.encode(text[at:at + 6 * n]).ids[:n]
        if len(piece) < n:
            raise SystemExit(f"the text is too short for {sequences} sequences of {length} tokens")
        tokens.append(np.array(piece))
        at += 4 * n
    masks = [uneven_mask(rng, len(t)) if masked else np.concatenate([[0], np.ones(len(t) - 1)]) for t in tokens]
    write_dataset(path, tokens, masks)


# ---- models ---------------------------------------------------------------------------------------------------------

FAMILIES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def random_model(family, folder, dtype=torch.float32, seed=0, **shape):
    """A small model without accidents: biases and norm weights that matter, columns (so shards) of unequal norm."""
    torch.manual_seed(seed)
    settings = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=8,
                    num_key_value_heads=4, vocab_size=101, max_position_embeddings=64, initializer_range=0.15,
                    tie_word_embeddings=False, bos_token_id=1, eos_token_id=2) | shape
    config = getattr(transformers, FAMILIES[family] + "Config")(**settings)
    model = getattr(transformers, FAMILIES[family] + "ForCausalLM")(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(0, 0.1)
            elif "norm" in name:
                p.add_(0.2 * torch.randn_like(p))
            elif p.dim() == 2:
                p.mul_(0.5 + torch.rand(1, p.shape[1])).mul_(0.5 + torch.rand(p.shape[0], 1))
    model.to(dtype).save_pretrained(folder)


def load_model(folder, dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def parameter_dtype(model):
    return next(model.parameters()).dtype


def batch_loss(model, sequences):
    """Sum of the negative log-likelihoods of a batch's targets, and their count."""
    longest = max(len(t) for t, _ in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    attend, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (tokens, targets) in enumerate(sequences):
        n = len(tokens)
        ids[row, :n], attend[row, :n] = torch.from_numpy(tokens), 1
        labels[row, :n][torch.from_numpy(targets)] = ids[row, :n][torch.from_numpy(targets)]
    with precision(parameter_dtype(model)):
        logits = model(input_ids=ids, attention_mask=attend, use_cache=False).logits[:, :-1]
    labels = labels[:, 1:]
    total = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1),
                                              ignore_index=-100, reduction="sum")
    return total, int((labels != -100).sum())


def evaluate(model, data):
    total = count = 0
    with torch.no_grad():
        for at in range(0, len(data), 8):
            loss, n = batch_loss(model, data[at:at + 8])
            total, count = total + float(loss.detach()), count + n
    return total / count


def continuations(model, prompts, new_tokens, beams=1, stop_tokens=None):
    """[(new tokens, the stop token included; sum of their log-probabilities)] by transformers' generate, one by one."""
    end = stop_tokens or model.generation_config.eos_token_id
    found = []
    for prompt in prompts:
        ids = torch.tensor([[int(token) for token in prompt]])
        with torch.no_grad(), precision(parameter_dtype(model)):
            tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens,
                                    num_beams=beams, do_sample=False, early_stopping=False, length_penalty=1.0,
                                    eos_token_id=end, pad_token_id=0)
            logits = model(input_ids=tokens, use_cache=False).logits[0, ids.shape[1] - 1:-1]
        new = tokens[0, ids.shape[1]:]
        chosen = torch.log_softmax(logits.double(), -1).gather(1, new[:, None])
        found.append((new.tolist(), float(chosen.sum())))
    return found


# ---- adapters -------------------------------------------------------------------------------------------------------


def disk_name(name):
    """A PEFT parameter's name in adapter_model.safetensors."""
    name = name.replace(".default", "")
    return name.removesuffix(".weight") if "lora_magnitude_vector" in name else name


def new_peft_adapter(model, seed=0, noise=0.0, **settings):
    """PEFT's own initial adapter; with noise B is moved from zero and m from the norms."""
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(seed)
    settings = dict(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM") | settings
    adapted = get_peft_model(model, LoraConfig(**settings))
    if noise:
        disturb(adapted, noise)
    return adapted


def disturb(model, noise):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, noise)
            elif "magnitude" in name:
                p.mul_(1 + 0.2 * torch.randn_like(p))


def load_peft_adapter(model, folder, trainable=True):
    from peft import PeftModel
    return PeftModel.from_pretrained(model, folder, is_trainable=trainable)


def save_peft_adapter(adapted, folder, base_name):
    """As PEFT saves it, in float32; lists sorted, so that the same run gives the same bytes."""
    dtype = parameter_dtype(adapted)
    adapted.to(torch.float32)
    adapted.peft_config["default"].base_model_name_or_path = base_name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the base model is not at that name from here
        adapted.save_pretrained(folder)
    adapted.to(dtype)
    folder = pathlib.Path(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            config[key] = sorted(value)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))


class DoraLinear(torch.nn.Module):
    """math.md sections 1 and 2, by automatic differentiation: both magnitude axes, both norm gradients."""

    def __init__(self, base, rank, scale, axis, norm_gradient):
        super().__init__()
        self.base, self.scale, self.axis, self.exact = base, scale, axis, norm_gradient == "exact"
        out_features, in_features = base.weight.shape
        bound = 1 / math.sqrt(in_features)
        self.lora_A = torch.nn.Parameter(torch.empty(rank, in_features, dtype=base.weight.dtype).uniform_(-bound, bound))
        self.lora_B = torch.nn.Parameter(torch.zeros(out_features, rank, dtype=base.weight.dtype))
        self.lora_magnitude_vector = torch.nn.Parameter(self.norm(base.weight))

    def norm(self, direction):
        return direction.norm(dim=1 if self.axis == "output" else 0).clamp_min(1e-12).detach()

    def forward(self, x):
        direction = self.base.weight + self.scale * self.lora_B @ self.lora_A
        norm = direction.norm(dim=1 if self.axis == "output" else 0).clamp_min(1e-12)
        gain = self.lora_magnitude_vector / (norm if self.exact else norm.detach())
        y = gain * (x @ direction.T) if self.axis == "output" else (gain * x) @ direction.T
        return y if self.base.bias is None else y + self.base.bias


def wrap_dora(model, rank, alpha, axis, norm_gradient, seed=0):
    """Every linear layer but the head."""
    torch.manual_seed(seed)
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, DoraLinear(module, rank, alpha / rank, axis, norm_gradient))
    return model


def dora_disk_name(name):
    name = "base_model.model." + name
    return name if name.endswith("lora_magnitude_vector") else name + ".weight"


def save_dora_adapter(model, folder, base_name, rank, alpha, axis):
    """PEFT's form on the output axis; on the input axis peft_type SHARDORA, which PEFT refuses."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {dora_disk_name(n): p.detach().float().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    targets = sorted({n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad})
    save_tensors(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path=base_name, r=rank, lora_alpha=alpha,
                  lora_dropout=0.0, use_dora=True, use_rslora=False, target_modules=targets, bias="none",
                  fan_in_fan_out=False, inference_mode=True, init_lora_weights=True, modules_to_save=None,
                  layers_to_transform=None, layers_pattern=None, rank_pattern={}, alpha_pattern={}, revision=None,
                  auto_mapping=None)
    if axis == "input":
        config |= dict(peft_type="SHARDORA", shardora_magnitude_axis="input")
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))


# ---- training -------------------------------------------------------------------------------------------------------


def learning_rate(k, steps, peak, schedule="constant", warmup=0, lowest=0.0):
    """math.md section 5; k counts from 1."""
    if k <= warmup:
        return peak * k / warmup
    t = (k - 1 - warmup) / max(1, steps - 1 - warmup)
    if schedule == "cosine":
        return lowest + (peak - lowest) * (1 + math.cos(math.pi * t)) / 2
    return lowest * t + peak * (1 - t) if schedule == "linear" else peak


def train(model, data, steps, global_batch, peak=2e-4, clip=1.0, weight_decay=0.0, magnitude_peak=None, b_ratio=1.0,
          schedule="constant", warmup=0, lowest=0.0, micro_batch=None):
    """Returns losses, gradient norms before clipping, learning rates, and the first step's gradients by parameter."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]

    def group(of, peak_rate, ratio, decay):
        members = [p for n, p in named if of(n, p)]
        return [dict(params=members, peak=peak_rate, ratio=ratio, weight_decay=decay)] if members else []

    def is_m(n, p):
        return "magnitude" in n

    def is_b(n, p):
        return "lora_B" in n

    def is_matrix(n, p):
        return not is_b(n, p) and p.dim() >= 2

    optimizer = torch.optim.AdamW(group(is_m, magnitude_peak or peak, 1.0, 0.0) +
                                  group(is_b, peak, b_ratio, weight_decay) +
                                  group(is_matrix, peak, 1.0, weight_decay) +
                                  group(lambda n, p: not is_m(n, p) and p.dim() < 2, peak, 1.0, 0.0),
                                  lr=peak, betas=(0.9, 0.999), eps=1e-8)
    losses, norms, rates, first = [], [], [], {}
    for k in range(1, steps + 1):
        batch = [data[((k - 1) * global_batch + i) % len(data)] for i in range(global_batch)]
        count, total = sum(int(targets.sum()) for _, targets in batch), 0.0
        for at in range(0, global_batch, micro_batch or global_batch):
            loss, _ = batch_loss(model, batch[at:at + (micro_batch or global_batch)])
            (loss / count).backward()
            total += float(loss.detach())
        norm = math.sqrt(sum(float(p.grad.double().square().sum()) for _, p in named))
        if not first:
            first = {n: p.grad.clone() for n, p in named}
        if clip:
            for _, p in named:
                p.grad.mul_(min(1.0, clip / (norm + 1e-6)))
        def rate(of_peak):
            return learning_rate(k, steps, of_peak, schedule, warmup, lowest)

        for g in optimizer.param_groups:
            g["lr"] = rate(g["peak"]) * g["ratio"]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total / count)
        norms.append(norm)
        rates.append(rate(peak))
    return dict(losses=losses, gradient_norms=norms, learning_rates=rates), first
