#!/usr/bin/env python3
"""Makes dataset files from text, prompts with completions, instructions, or chats.

    prepare.py --tokenizer MODEL --input chats.jsonl --format chat --output train.safetensors --eval-fraction 0.05

Formats and their fields (other names: --field NAME=THEIRS, as in --field prompt=question --field completion=answer):

  text         text files, or records with text. A file is one document; --separator parts it, as in --separator '\\n\\n'.
               Every token is learned. A document longer than the model reads: --overlong split
  completion   prompt, completion, perhaps system
  instruction  instruction, output, perhaps input and system (Alpaca, LLM-Adapters)
  chat         messages with role and content (OpenAI), or conversations with from and value (ShareGPT); perhaps tools.
               System, user and tool turns are read, never learned, nor is an assistant's turn with weight 0

Files: JSON (an array, or one object a line), JSON Lines, CSV, Parquet (with pyarrow), by their names' ends; all else is
text. They may be larger than memory. Output is the same for any number of processes.

Learned are the answer's tokens and the token that ends it, not the prompt (--train-on). A token with characters of both
prompt and answer belongs to the answer. The token that begins a sequence comes from the tokenizer or the chat template,
once. --prompt none (the usual one for completions) joins prompt and completion as they are; alpaca and llm-adapters are
those papers' texts, llm-adapters-evaluation is what they ask with; a FILE is a Jinja chat template, or a text with
{instruction} and perhaps {input}. Instructions and chats take the tokenizer's chat template if it has one, else alpaca.

Nothing is left out silently: records that are too long, empty or without anything to learn are counted and the first of
them is named. The last line of standard output is a JSON object with all counts.
"""

import argparse
import collections
import json
import math
import os
import sys
import time

from refusal import OUTPUT, USAGE, Arguments, Refusal, one_line, run

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # processes share the work, threads would compete
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

FORMATS = ("text", "completion", "instruction", "chat")
_BATCH_RECORDS, _BATCH_BYTES = 256, 1 << 20


def parser():
    arguments = Arguments(prog="prepare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--tokenizer", required=True, metavar="FOLDER", help="a Hugging Face folder with tokenizer.json")
    add("--input", required=True, nargs="+", metavar="FILE")
    add("--format", required=True, choices=FORMATS)
    add("--output", required=True, metavar="FILE", help="the dataset file, replaced if it is there")
    add("--prompt", metavar="NAME|FILE",
        help="chat, alpaca, llm-adapters, llm-adapters-evaluation, none, or a template's file")
    add("--template-option", action="append", default=[], metavar="NAME=VALUE",
        help="what the chat template is told, as in enable_thinking=false")
    add("--train-on", choices=("completion", "last", "all"),
        help="every answer (completion; the default), a chat's last one, or every token but the first (text)")
    add("--model", metavar="FOLDER", help="whose config.json says vocabulary and longest sequence (the tokenizer's folder)")
    add("--sequence-length", type=int, metavar="N", help="longest sequence in tokens (the model's limit)")
    add("--overlong", choices=("error", "drop", "truncate", "split"), default="error",
        help="what becomes of longer ones; split, for text, loses nothing (error)")
    add("--eval-fraction", type=float, default=0.0, metavar="F",
        help="share held out, chosen by prompt, so that no prompt is in both parts (0)")
    add("--eval-output", metavar="FILE", help="where to (OUTPUT with .eval before its end)")
    add("--seed", type=int, default=0, help="of that choice (0)")
    add("--drop-duplicates", action="store_true", help="keep the first of equal sequences; else they are only counted")
    add("--field", action="append", default=[], metavar="NAME=THEIRS", help="what a field is called in the files")
    add("--separator", metavar="TEXT", help="what parts documents in text files; \\n and \\t are known")
    add("--max-record-bytes", type=int, default=16 << 20, metavar="N", help="longest record that is read (16 MiB)")
    add("--processes", type=int, default=0, metavar="N", help="processes that share the work (0: one a core)")
    return arguments


def check(options):
    if options.sequence_length is not None and options.sequence_length < 2:
        raise Refusal(f"--sequence-length is {options.sequence_length}, expected 2 or more", USAGE)
    if not 0 <= options.eval_fraction < 1:
        raise Refusal(f"--eval-fraction is {options.eval_fraction}, expected from 0 to below 1", USAGE)
    if options.processes < 0 or options.max_record_bytes < 1:
        raise Refusal("--processes and --max-record-bytes take positive numbers", USAGE)
    if options.overlong == "split" and options.format != "text":
        raise Refusal("--overlong split is for --format text; expected error, drop or truncate", USAGE)
    if options.format == "text" and options.train_on not in (None, "all"):
        raise Refusal(f"--train-on {options.train_on}: text has no prompt, expected all", USAGE)
    if options.format == "text" and options.prompt not in (None, "none"):
        raise Refusal(f"--prompt {options.prompt}: text has no prompt; leave it out", USAGE)
    if options.separator is not None and options.format != "text":
        raise Refusal("--separator parts documents, which --format text has", USAGE)
    outputs = [options.output] + ([options.eval_output] if options.eval_fraction else [])
    for path in outputs:
        if os.path.isdir(path):
            raise Refusal(f"{path}: is a folder, expected a file's name", OUTPUT)
    paths = [os.path.realpath(path) for path in outputs + options.input]
    if len(set(paths[: len(outputs)])) < len(outputs) or set(paths[: len(outputs)]) & set(paths[len(outputs):]):
        raise Refusal(f"--output {options.output}: the outputs and inputs must be different files", USAGE)


def resolve(options):
    """What is not given is derived, and recorded as if it had been given."""
    root, end = os.path.splitext(options.output)
    options.eval_output = options.eval_output or f"{root}.eval{end}"
    check(options)
    options.train_on = options.train_on or ("all" if options.format == "text" else "completion")
    options.processes = options.processes or len(os.sched_getaffinity(0))
    if options.separator is not None:
        options.separator = options.separator.replace("\\n", "\n").replace("\\t", "\t")
        if not options.separator:
            raise Refusal("--separator is empty, expected a text such as \\n\\n", USAGE)


def pairs(given, key, values=str):
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise Refusal(f"{key} {text}: expected NAME=VALUE", USAGE)
        found[name] = values(value)
    return found


def fields_of(options):
    from formats import FIELDS

    needed, taken = FIELDS[options.format]
    found = pairs(options.field, "--field")
    for name in found:
        if name not in needed + taken:
            raise Refusal(f"--field {name}: --format {options.format} has the fields {', '.join(needed + taken)}", USAGE)
    return found


def _json_or_text(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def make_maker(options):
    import templates
    from encoding import Encoder
    from formats import Reader
    from sequences import Maker, Rules

    fields = fields_of(options)
    encoder = Encoder(options.tokenizer, options.model)
    prompt = templates.choose(options.prompt, options.format, encoder,
                              pairs(options.template_option, "--template-option", _json_or_text))
    if options.sequence_length is None:
        options.sequence_length = encoder.longest
    rules = Rules(options.train_on, options.sequence_length, options.overlong, options.eval_fraction, options.seed)
    return Maker(encoder, Reader(options.format, fields), prompt, rules)


def batches(options):
    """Batches of records: of one file each, so that a file which mixes formats is noticed."""
    from reading import records

    for path in options.input:
        batch, size = [], 0
        for record in records(path, options.max_record_bytes, options.separator):
            batch.append(record)
            size += record.size
            if len(batch) == _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


class Tally:
    """What became of the records."""

    def __init__(self):
        self.fates, self.first = collections.Counter(), {}
        self.unknown = self.joined = 0
        self._shapes = {}  # of each file: its records' shape, and where it was seen first

    def add(self, batch):
        for where, shape, fate in zip(batch.wheres, batch.shapes, batch.fates):
            path = where.rpartition(", ")[0] or where
            known, seen = self._shapes.setdefault(path, (shape, where))
            if shape != known:
                raise Refusal(f"{where}: {shape}, but {seen} has {known}; a file must keep to one format, part it")
            self.fates[fate] += 1
            self.first.setdefault(fate, where)
        self.unknown += batch.unknown
        self.joined += batch.joined


def convert(options, maker, train, held_out, tally):
    import tqdm
    from pool import ordered

    total = sum(os.path.getsize(path) for path in options.input)
    with tqdm.tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), file=sys.stderr) as bar:
        for batch in ordered(maker.batch, batches(options), options.processes):
            tally.add(batch)
            in_part = batch.held_out.repeat(batch.lengths)
            for spool, one, each in ((train, ~batch.held_out, ~in_part), (held_out, batch.held_out, in_part)):
                if one.any():
                    spool.add(batch.tokens[each], batch.mask[each], batch.lengths[one], batch.hashes[one])
            bar.update(batch.size)


def metadata(options, maker):
    prompt, given = maker.prompt, vars(options)
    given = {name: value for name, value in given.items() if name not in ("processes", "output", "eval_output")}
    return {
        "format": "shardora.dataset.v1",
        "tokenizer_sha256": maker.encoder.sha256,
        "source": ", ".join(os.path.basename(path) for path in options.input),
        "prompt": prompt.name,
        "prompt_kind": "chat" if hasattr(prompt, "options") else "text",
        "prompt_template": prompt.describe(),
        "template_options": json.dumps(getattr(prompt, "options", {})),
        "end_tokens": json.dumps(prompt.end_tokens(maker.encoder)),
        "arguments": json.dumps(given, ensure_ascii=False),
    }


def finish(options, maker, spools, tally):
    """Duplicates, checks, and the files. Returns the spools as they were written, and the number of duplicates."""
    from sequences import CUT, KEPT

    repeated = [spool.repeated() for spool in spools]
    if options.drop_duplicates:
        spools = [spool.without(again, f"unique{k}") if again.any() else spool
                  for k, (spool, again) in enumerate(zip(spools, repeated))]
    if not spools[0].sequences and not spools[1].sequences:
        raise Refusal(f"{options.input[0]}: nothing is left to learn from: {fate_text(tally)}")
    if not spools[0].sequences:
        raise Refusal(f"--eval-fraction {options.eval_fraction} holds out all {spools[1].sequences} sequences; "
                      "choose a smaller one or another --seed", USAGE)
    if options.eval_fraction and not spools[1].sequences:
        raise Refusal(f"--eval-fraction {options.eval_fraction} holds out none of {spools[0].sequences} sequences; "
                      "choose a greater one or another --seed", USAGE)
    about = metadata(options, maker)
    if options.eval_fraction:
        spools[1].finish(options.eval_output, {**about, "part": "eval"})
    spools[0].finish(options.output, {**about, "part": "train"})
    return spools, int(sum(again.sum() for again in repeated))


def fate_text(tally):
    from sequences import CUT, EMPTY, KEPT, NO_TARGET, TOO_LONG

    names = {KEPT: "kept", CUT: "cut", TOO_LONG: "dropped as too long", EMPTY: "dropped as empty",
             NO_TARGET: "dropped with nothing to learn"}
    parts = []
    for fate, name in names.items():
        if tally.fates[fate] or fate == KEPT:
            first = f" (first: {tally.first[fate]})" if fate != KEPT else ""
            parts.append(f"{tally.fates[fate]} {name}{first}")
    return ", ".join(parts)


def part_result(path, spool):
    return {"output": path, "sequences": spool.sequences, "tokens": spool.tokens, "targets": spool.targets,
            "target_share": round(spool.targets / max(1, spool.tokens), 4)}


def report(options, maker, spools, tally, duplicates, seconds):
    import showing
    from sequences import CUT, EMPTY, KEPT, NO_TARGET, TOO_LONG

    say = print
    say(f"{sum(tally.fates.values())} records: {fate_text(tally)}")
    fate = "dropped" if options.drop_duplicates else "kept (--drop-duplicates drops them)"
    say(f"{duplicates} sequences equal an earlier one of their part: {fate}")
    if tally.unknown:
        say(f"{tally.unknown} tokens stand for text that the vocabulary lacks")
    if tally.joined:
        say(f"In {tally.joined} sequences a token joins the prompt's end and the answer's start, and is learned; a prompt "
            "that ends in a line break, or no blank at its end, avoids that")
    parts = [(options.output, spools[0])] + ([(options.eval_output, spools[1])] if options.eval_fraction else [])
    for path, spool in parts:
        say(f"{path}: {spool.sequences} sequences, {spool.tokens} tokens, {100 * spool.targets / spool.tokens:.1f} % "
            "of them learned")
    say("The first, what is learned marked:")
    say(showing.sequence(maker.encoder, *spools[0].first()))
    counts = {name: tally.fates[kind] for name, kind in (("kept", KEPT), ("cut", CUT), ("dropped_too_long", TOO_LONG),
                                                         ("dropped_empty", EMPTY), ("dropped_no_target", NO_TARGET))}
    result = {**part_result(options.output, spools[0]), "records": sum(tally.fates.values()), **counts,
              "duplicates": duplicates, "duplicates_dropped": options.drop_duplicates, "unknown_tokens": tally.unknown,
              "joined": tally.joined,
              "prompt": maker.prompt.name, "seconds": round(seconds, 2)}
    if options.eval_fraction:
        result["eval"] = part_result(*parts[1])
    say(json.dumps(result))


def main(arguments):
    from writing import Spool, Workplace

    begin = time.monotonic()
    options = parser().parse_args(arguments)
    resolve(options)
    for path in options.input:
        if not os.path.exists(path):
            raise Refusal(f"{path}: no such file, expected an input")
    sys.stdout.reconfigure(errors="backslashreplace")
    maker, tally = make_maker(options), Tally()
    with Workplace(options.output) as place:
        spools = [Spool(place.folder, "train"), Spool(place.folder, "eval")]
        convert(options, maker, *spools, tally)
        spools, duplicates = finish(options, maker, spools, tally)
        report(options, maker, spools, tally, duplicates, time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(run("prepare.py", main, sys.argv[1:]))
