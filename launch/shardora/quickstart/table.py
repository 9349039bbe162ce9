"""Shows what the quickstart has reached: some answers of each model, then one table.

    python3 -m shardora.quickstart table demo|smollm2|own_model MODEL OUTPUT      reads OUTPUT/results and OUTPUT/data, writes OUTPUT/results/table.json

The two demonstrations have targets; missing one is a failure, so that the quickstart is a test as well.
"""

import json
import os
import textwrap

from shardora.errors import USAGE, Error
from shardora.quickstart import bytes_tokenizer, questions, tickets

MODELS = ("base", "adapted", "merged")
KINDS = ("demo", "smollm2", "own_model")
SHOWN, LONGEST, WIDTH = 3, 240, 100
BASE_AT_MOST, ADAPTED_AT_LEAST, AGREE_AT_LEAST = 0.05, 0.8, 0.99


def result(output, stage):
    """The JSON object that the program prints as its last line."""
    with open(os.path.join(output, "results", stage + ".out"), encoding="utf-8") as file:
        return json.loads(file.read().strip().splitlines()[-1])


def decoder(kind, model):
    if kind == "demo":
        return bytes_tokenizer.decode
    path = os.path.join(model, "tokenizer.json")
    if not os.path.exists(path):
        return lambda tokens: " ".join(map(str, tokens))
    from tokenizers import Tokenizer  # from build/venv

    return Tokenizer.from_file(path).decode


def answer_of(continuation, end):
    """A continuation up to its end token: whether the program reports that token too does not matter here."""
    return continuation[: continuation.index(end)] if end in continuation else continuation


def collect(kind, model, output):
    asked = questions.read(os.path.join(output, "data"))
    end = asked[0][1][-1]
    said = {
        name: [answer_of(one["tokens"], end) for one in result(output, "generate-" + name)["sequences"]]
        for name in MODELS
    }
    wanted = [answer_of(answer, end) for _, answer in asked]
    exact = {name: sum(a == b for a, b in zip(said[name], wanted)) for name in MODELS}
    with open(os.path.join(output, "results", "seconds.tsv"), encoding="utf-8") as file:
        seconds = {name: float(value) for name, value in (line.split("\t") for line in file)}
    training = {stage: result(output, stage) for stage in ("train-base", "train-dora") if stage in seconds}
    decode = decoder(kind, model)
    prompts = tickets.messages(output) if kind == "smollm2" else [decode(prompt) for prompt, _ in asked[:SHOWN]]
    return {
        "questions": len(asked),
        "exact_answers": exact,
        "adapted_and_merged_agree": sum(a == b for a, b in zip(said["adapted"], said["merged"])),
        "held_out_loss": {name: result(output, "eval-" + name)["loss"] for name in MODELS},
        "training": training,
        "seconds": seconds,
        "samples": [
            {"prompt": prompts[k], "wanted": decode(wanted[k])} | {name: decode(said[name][k]) for name in MODELS}
            for k in range(min(SHOWN, len(asked)))
        ],
    }


def paragraph(title, text):
    """The text's words in a few lines, those after the first indented as the title is long."""
    text = " ".join(text.split()) or "(nothing)"
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return textwrap.fill(text, WIDTH, initial_indent=title, subsequent_indent=" " * len(title))


def show(found, kind, model, output):
    for sample in found["samples"]:
        print()
        print(paragraph("  ", sample["prompt"]))
        for name in MODELS:
            print(paragraph(f"    {name:8} ", sample[name]))
    print()
    row = "  {:28}{:>14}{:>14}{:>14}".format
    print(row("", *MODELS))
    print(row(f"exact answers of {found['questions']}", *(found["exact_answers"][name] for name in MODELS)))
    print(row("held-out loss", *(f"{found['held_out_loss'][name]:.4f}" for name in MODELS)))
    print()
    for stage, summary in found["training"].items():
        trained, total = summary["trained_parameters"], summary["total_parameters"]
        print(
            f"  {stage:28}{trained:,} of {total:,} parameters ({trained / total:.1%}), "
            f"{summary['tokens_per_second']:,.0f} tokens/s"
        )
    print()
    for name, value in found["seconds"].items():
        print(f"  {name:28}{value:8.1f} s")
    print(f"  {'together':28}{sum(found['seconds'].values()):8.1f} s")
    print()
    places = [
        ("adapter (PEFT loads it)", "dora/adapter"),
        ("merged model (a Hugging Face folder)", "merged"),
        ("metrics, log, resolved options", "dora"),
        ("this table as JSON", "results/table.json"),
    ]
    if kind != "own_model":
        places.insert(0, ("base model", os.path.relpath(model, output)))
    for what, where in places:
        print(f"  {what:38}{os.path.join(output, where)}")
    if kind == "smollm2":
        print(FURTHER.format(output=os.path.relpath(output)))
    else:
        print("\n  A real model:    launch/quickstart.sh --smollm2")
        print("  Your own model:  launch/quickstart.sh --model FOLDER --data FILE\n")


FURTHER = """
  Ask the merged model, or serve it: any server of Hugging Face folders takes it.
    build/venv/bin/shardora-text generate --model {output}/merged --like {output}/data/skill.train.safetensors "Hello!"
    vllm serve {output}/merged

  On chats of your own, in the form of {output}/data/skill.train.jsonl:
    build/venv/bin/shardora-prepare --tokenizer {output}/model --format chat --input chats.jsonl \\
      --eval-fraction 0.1 --output build/mine.safetensors
    build/release/shardora train --config configs/smollm2.cfg --model.path={output}/model \\
      --data.train=build/mine.safetensors --data.eval=build/mine.eval.safetensors --output.dir=build/mine
"""


def missed(found):
    exact, asked = found["exact_answers"], found["questions"]
    if exact["base"] > BASE_AT_MOST * asked:
        return f"the base model answers {exact['base']} of {asked} questions, expected {BASE_AT_MOST:.0%} at most"
    if exact["adapted"] < ADAPTED_AT_LEAST * asked:
        return f"the adapted model answers {exact['adapted']} of {asked} questions, expected {ADAPTED_AT_LEAST:.0%} or more"
    if found["adapted_and_merged_agree"] < int(AGREE_AT_LEAST * asked):  # 99 of 100, 29 of 30
        return (
            f"adapted and merged model give the same answer to {found['adapted_and_merged_agree']} of {asked} questions, "
            f"expected {AGREE_AT_LEAST:.0%} or more"
        )
    return None


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in KINDS:
        raise Error(f"table: expected {'|'.join(KINDS)} MODEL OUTPUT", USAGE)
    kind, model, output = arguments
    found = collect(kind, model, output)
    with open(os.path.join(output, "results", "table.json"), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2, ensure_ascii=False)
    show(found, kind, model, output)
    problem = missed(found) if kind != "own_model" else None
    if problem:
        raise Error(problem, 1)
