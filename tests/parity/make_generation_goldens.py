"""Makes tests/parity/golden/generation.json: what transformers' generate gives on the golden models, in float64.

    python make_generation_goldens.py [--out FOLDER] [--data FOLDER]

For each case: model, adapter (of a training case) or null, prompts, beams, new_tokens, stop_tokens, and each prompt's
new tokens (the stop token included) with the sum of their log-probabilities. Models that start with data: are in the
test data (SHARDORA_TEST_DATA), not here. Made with the versions that make_goldens.py names.
"""
import argparse
import json
import os
import pathlib

import live_generate
import reference
import torch

HERE = pathlib.Path(__file__).parent
NEW_TOKENS = 30
STOP_TOKENS = [2, 17, 33, 51]  # in a random model one of them comes now and then
MODELS = ["llama_biases", "llama_tied", "llama3_rope", "mistral", "qwen2", "qwen3"]


def small_cases(out):
    for name in MODELS:
        vocabulary = json.loads((out / "models" / name / "config.json").read_text())["vocab_size"]
        prompts = f"data/{vocabulary}-held-out.safetensors"
        adapter = f"{name}_dora/init"
        for of in [None, adapter] if (out / adapter).exists() else [None]:
            for beams in (1, 4):
                yield dict(name=f"{name}_{'adapted' if of else 'base'}_{beams}", model=f"models/{name}", adapter=of,
                           prompts=prompts, beams=beams, new_tokens=NEW_TOKENS, stop_tokens=STOP_TOKENS)


def story_cases(out, data):
    path = out / "data/stories-prompts.safetensors"
    live_generate.write_prompts(path, data, 20)
    for beams in (1, 4):
        yield dict(name=f"stories_base_{beams}", model="data:models/stories260K", adapter=None,
                   prompts="data/stories-prompts.safetensors", beams=beams, new_tokens=64, stop_tokens=[2])


def continue_prompts(case, out, data):
    folder = data / case["model"].removeprefix("data:") if case["model"].startswith("data:") else out / case["model"]
    model = reference.load_model(folder, torch.float64)
    if case["adapter"]:
        model = reference.load_peft_adapter(model, out / case["adapter"], trainable=False)
    prompts = [tokens for tokens, _ in reference.read_dataset(out / case["prompts"])]
    found = reference.continuations(model, prompts, case["new_tokens"], case["beams"], case["stop_tokens"])
    print(case["name"], "new tokens", [len(tokens) for tokens, _ in found], flush=True)
    return case | dict(continuations=[dict(tokens=tokens, log_probability=total) for tokens, total in found])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "golden")
    parser.add_argument("--data", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", HERE.parents[2] / "shared/data")))
    a = parser.parse_args()
    cases = [continue_prompts(case, a.out, a.data) for case in [*small_cases(a.out), *story_cases(a.out, a.data)]]
    lines = ",\n ".join(json.dumps(case) for case in cases)
    (a.out / "generation.json").write_text(f"[{lines}]\n")


if __name__ == "__main__":
    main()
