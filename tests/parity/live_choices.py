"""Log-likelihoods of multiple-choice options, by this program and by transformers (and PEFT) on the same tokens.

    python tests/parity/live_choices.py --model MODEL [--adapter FOLDER] --choices CHOICES --scores SCORES

CHOICES is what shardora-commonsense made, SCORES what `shardora eval --eval.scores` wrote of it. Needs PyPI's
torch, transformers, peft, safetensors. Exits with 1 where two differ by more than 1e-4.
"""
import argparse
import json
import sys

import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

_WORST = 1e-4


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--choices", "--scores"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("--adapter")
    options = arguments.parse_args()
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    if options.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, options.adapter)
    model.eval()
    file = load_file(options.choices)
    with open(options.scores, encoding="utf-8") as lines:
        ours = [value for line in lines for value in json.loads(line)["log_likelihoods"]]
    worst = max(abs(value - likelihood(model, file, k)) for k, value in enumerate(ours))
    sequences = len(file["offsets"]) - 1
    print(json.dumps({"questions": len(file["answers"]), "options": sequences, "worst_difference": worst}))
    return 0 if len(ours) == sequences and worst <= _WORST else 1


def likelihood(model, file, k):
    begin, end = file["offsets"][k : k + 2]
    tokens = torch.tensor(file["tokens"][begin:end].astype("int64"))
    with torch.no_grad():
        chances = torch.log_softmax(model(tokens[None]).logits[0].double(), -1)
    own = chances[:-1].gather(1, tokens[1:, None])[:, 0]
    return float(own[torch.tensor(file["loss_mask"][begin + 1 : end] == 1)].sum())


if __name__ == "__main__":
    sys.exit(main())
