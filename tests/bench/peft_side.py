"""PEFT's side of versus_peft.py, a process of its own for each measurement.

  peft_side.py model OUT SHAPE-AS-JSON           a Llama with random weights, as a Hugging Face folder
  peft_side.py train MODEL DATASET METHOD …      optimizer steps; one JSON object: tokens and seconds of each, peak memory

As fast as its own documentation has it on a CPU: float32, scaled-dot-product attention, no checkpointing of activations,
no cache, gradients set to None. It does not clip gradients, which Shardora does.
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
    options = parser.parse_args()
    (make_model if options.command == "model" else train)(options)


main()
