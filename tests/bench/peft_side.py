"""PEFT's side of versus_peft.py and of tests/gpu, a process of its own for each measurement.

  peft_side.py model OUT SHAPE-AS-JSON           a Llama with random weights, as a Hugging Face folder
  peft_side.py train MODEL DATASET METHOD …      optimizer steps; one JSON object: tokens and seconds of each, peak memory
  peft_side.py largest SHAPE METHOD …            the same on random weights and tokens made on a GPU, with the largest
                                                 batch that fits, and the fastest attention of those that torch has

As fast as its own documentation has it on a CPU: float32, scaled-dot-product attention, no checkpointing of activations,
no cache, gradients set to None. It does not clip gradients, which Shardora does. On a GPU: all bfloat16, adapters too
(PEFT's default, float32 adapters, is slower), AdamW fused; activations are checkpointed only where one sequence would
not fit otherwise.
"""
import argparse
import json
import os
import resource
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import transformers


def make_model(options):
    hidden, intermediate, layers, heads, kv_heads, vocabulary = json.loads(options.shape)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocabulary, tie_word_embeddings=True, max_position_embeddings=8192)
    transformers.LlamaForCausalLM(config).save_pretrained(options.out)
    print(json.dumps(dict(folder=options.out)))


def sequences_of(path):
    from safetensors.torch import load_file
    data = load_file(path)
    offsets, mask = data["offsets"].tolist(), data["loss_mask"].bool()
    return [(data["tokens"][b:e].long(), mask[b:e]) for b, e in zip(offsets[:-1], offsets[1:])]


def batches_of(sequences, options):
    """One list of sequences a step. Grouped: neighbours in length share a batch, as group_by_length does."""
    if options.group_by_length:
        sequences = sorted(sequences, key=lambda one: -len(one[0]))
    return [sequences[i:i + options.batch] for i in range(0, len(sequences), options.batch)]


def inputs_of(batch):
    longest = max(len(tokens) for tokens, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels, attention = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, (tokens, mask) in enumerate(batch):
        ids[row, :len(tokens)], attention[row, :len(tokens)] = tokens, 1
        labels[row, :len(tokens)] = torch.where(mask, tokens, -100)
    if bool(attention.all()):  # nothing is padded: the plain causal mask, which is the fast one
        return dict(input_ids=ids, labels=labels)
    return dict(input_ids=ids, labels=labels, attention_mask=attention)


def train(options):
    import peft
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32,
                                                              attn_implementation="sdpa")
    model.config.use_cache = False
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.0, use_dora=options.method == "dora",
        target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    batches = batches_of(sequences_of(options.dataset), options)
    steps = []
    for batch in batches[:1] + batches:  # the first one warms up
        begin = time.perf_counter()
        loss = model(**inputs_of(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps.append(dict(tokens=sum(len(tokens) for tokens, _ in batch), seconds=time.perf_counter() - begin,
                          loss=float(loss.detach())))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    versions = dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)
    print(json.dumps(dict(steps=steps[1:], first_loss=steps[0]["loss"], peak_memory_bytes=peak, versions=versions)))


def random_model(options):
    """Made where it stays, in its own type: the host never holds it."""
    import peft
    hidden, intermediate, layers, heads, kv_heads, vocabulary = json.loads(options.shape)
    config = transformers.LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocabulary, tie_word_embeddings=not options.untied,
        max_position_embeddings=8192, rope_theta=500000.0, use_cache=False)
    config._attn_implementation = "sdpa"
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(options.device):
        model = transformers.LlamaForCausalLM(config)
        model = peft.get_peft_model(model, peft.LoraConfig(
            r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.0, use_dora=options.method == "dora",
            target_modules="all-linear", task_type="CAUSAL_LM"), autocast_adapter_dtype=False)
    torch.set_default_dtype(usual)
    model.train()
    return model


class Device:
    """What differs between a GPU and the CPU that rehearses for it."""

    def __init__(self, name):
        self.gpu = name == "cuda"

    def wait(self):
        if self.gpu:
            torch.cuda.synchronize()

    def forget(self):
        import gc
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self):
        return torch.cuda.max_memory_reserved() if self.gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def attentions(self):
        from torch.nn.attention import SDPBackend
        if not self.gpu:
            return [SDPBackend.FLASH_ATTENTION]
        return [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]


def timed_steps(model, optimizer, device, attentions, ids, count):
    from torch.nn.attention import sdpa_kernel
    steps = []
    for _ in range(count):
        device.wait()
        begin = time.perf_counter()
        with sdpa_kernel(attentions):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        device.wait()
        steps.append(dict(tokens=ids.numel(), seconds=time.perf_counter() - begin, loss=float(loss.detach())))
    return steps


def fits(model, optimizer, device, ids):
    """Two steps: the optimizer's state is made by the first."""
    try:
        timed_steps(model, optimizer, device, device.attentions(), ids, 2)
        return True
    except torch.OutOfMemoryError:
        optimizer.zero_grad(set_to_none=True)
        return False


def largest(options):
    import peft
    torch.manual_seed(0)
    device = Device(options.device)
    model = random_model(options)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.0,
                                  fused=device.gpu)
    vocabulary = json.loads(options.shape)[-1]
    checkpointed, chosen = False, None
    for batch in [*range(options.most, 0, -1), 0]:
        if batch == 0:  # not even one sequence
            model.gradient_checkpointing_enable(dict(use_reentrant=False))
            model.enable_input_require_grads()
            checkpointed, batch = True, 1
        device.forget()
        ids = torch.randint(vocabulary, (batch, options.length), device=options.device)
        if fits(model, optimizer, device, ids):
            chosen = batch
            break
    if chosen is None:
        raise SystemExit("one sequence does not fit, with checkpointing neither")
    device.forget()
    by_attention = {}
    for attention in device.attentions():
        try:
            steps = timed_steps(model, optimizer, device, [attention], ids, 1 + options.steps)[1:]
            by_attention[attention.name] = steps
        except (RuntimeError, torch.OutOfMemoryError) as error:
            by_attention[attention.name] = str(error)[:200]
            optimizer.zero_grad(set_to_none=True)
            device.forget()
    ran = {name: steps for name, steps in by_attention.items() if isinstance(steps, list)}
    best = min(ran, key=lambda name: sorted(s["seconds"] for s in ran[name])[len(ran[name]) // 2])
    versions = dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)
    print(json.dumps(dict(method=options.method, batch=chosen, length=options.length, checkpointed=checkpointed,
                          attention=best, steps=ran[best], by_attention=by_attention, first_loss=ran[best][0]["loss"],
                          peak_memory_bytes=device.peak_bytes(), versions=versions)))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model")
    model.add_argument("out")
    model.add_argument("shape")
    training = commands.add_parser("train")
    training.add_argument("model")
    training.add_argument("dataset")
    training.add_argument("method", choices=["dora", "lora"])
    training.add_argument("--rank", type=int, default=8)
    training.add_argument("--batch", type=int, required=True, help="sequences of a step, in one pass")
    training.add_argument("--group-by-length", action="store_true")
    training.add_argument("--threads", type=int, default=2)
    most = commands.add_parser("largest")
    most.add_argument("shape")
    most.add_argument("method", choices=["dora", "lora"])
    most.add_argument("--untied", action="store_true", help="a head of its own")
    most.add_argument("--rank", type=int, default=16)
    most.add_argument("--length", type=int, default=4096)
    most.add_argument("--most", type=int, default=4, help="sequences to begin with; one less where they do not fit")
    most.add_argument("--steps", type=int, default=5)
    most.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    dict(model=make_model, train=train, largest=largest)[options.command](options)


main()
