"""The command line of shardora-prepare: what may be given, what fits together, and what follows where nothing is given."""

import json
import os

from shardora.data.prompts import NAMES
from shardora.data.samples import FIELDS
from shardora.errors import OUTPUT, USAGE, Arguments, Error

FORMATS = ("text", "completion", "instruction", "chat")
TRAIN_ON = ("completion", "last", "all")
OVERLONG = ("error", "drop", "truncate", "split")
LONGEST_RECORD = 8 << 20  # bytes; the tokenizer needs some 200 times its memory


def add_repeated(parser, name, form, about=None):
    parser.add_argument(name, action="append", default=[], metavar=form, help=about)


def parser(description):
    arguments = Arguments(prog="shardora-prepare", description=description)
    add = arguments.add_argument
    add("--tokenizer", required=True, metavar="FOLDER", help="a Hugging Face folder with tokenizer.json")
    add("--input", required=True, nargs="+", metavar="FILE")
    add("--format", required=True, choices=FORMATS)
    add("--output", required=True, metavar="FILE", help="the dataset file, replaced if it is there")
    add("--prompt", metavar="NAME|FILE", help=f"{', '.join(NAMES)}, or a template's file")
    add_repeated(arguments, "--template-option", "NAME=VALUE", "a variable of the chat template: enable_thinking=false")
    add(
        "--train-on", choices=TRAIN_ON, help="every answer (completion; the default), a chat's last one, or every token"
    )
    add(
        "--model", metavar="FOLDER", help="its config.json has vocabulary and longest sequence (the tokenizer's folder)"
    )
    add("--sequence-length", type=int, metavar="N", help="longest sequence in tokens (the model's limit)")
    add(
        "--overlong",
        choices=OVERLONG,
        default=OVERLONG[0],
        help="of longer ones; split, for text, loses nothing (error)",
    )
    add("--eval-fraction", type=float, default=0.0, metavar="F", help="share of prompts held out with all answers (0)")
    add("--eval-output", metavar="FILE", help="where to (OUTPUT with .eval before its end)")
    add("--seed", type=int, default=0, help="of that choice (0)")
    add("--drop-duplicates", action="store_true", help="keep the first of equal sequences; else they are only counted")
    add_repeated(arguments, "--field", "NAME=THEIRS", "what a field is called in the files")
    add("--separator", metavar="TEXT", help="what parts documents in text files; \\n and \\t are known")
    add("--max-record-bytes", type=int, default=LONGEST_RECORD, metavar="N", help="longest record that is read (8 MiB)")
    add("--processes", type=int, default=0, metavar="N", help="processes that share the work (0: one a core)")
    return arguments


def check(options):
    if options.sequence_length is not None and options.sequence_length < 2:
        raise Error(f"--sequence-length is {options.sequence_length}, expected 2 or more", USAGE)
    if not 0 <= options.eval_fraction < 1:
        raise Error(f"--eval-fraction is {options.eval_fraction}, expected from 0 to below 1", USAGE)
    if options.processes < 0 or options.max_record_bytes < 1:
        raise Error("--processes and --max-record-bytes take positive numbers", USAGE)
    if options.overlong == "split" and options.format != "text":
        raise Error("--overlong split is for --format text; expected error, drop or truncate", USAGE)
    if options.format == "text" and options.train_on not in (None, "all"):
        raise Error(f"--train-on {options.train_on}: text has no prompt, expected all", USAGE)
    if options.format == "text" and options.prompt not in (None, "none"):
        raise Error(f"--prompt {options.prompt}: text has no prompt; leave it out", USAGE)
    if options.eval_output and not options.eval_fraction:
        raise Error("--eval-output needs --eval-fraction, the share that goes there", USAGE)
    if options.separator is not None and options.format != "text":
        raise Error("--separator parts documents, which --format text has", USAGE)
    outputs = [options.output] + ([options.eval_output] if options.eval_fraction else [])
    for path in outputs:
        if os.path.isdir(path):
            raise Error(f"{path}: is a folder, expected a file's name", OUTPUT)
    paths = [os.path.realpath(path) for path in outputs + options.input]
    if len(set(paths[: len(outputs)])) < len(outputs) or set(paths[: len(outputs)]) & set(paths[len(outputs) :]):
        raise Error(f"--output {options.output}: the outputs and inputs must be different files", USAGE)


def resolve(options):
    """What is not given is derived, and recorded as if it had been given."""
    root, end = os.path.splitext(options.output)
    if options.eval_fraction:
        options.eval_output = options.eval_output or f"{root}.eval{end}"
    check(options)
    options.train_on = options.train_on or ("all" if options.format == "text" else "completion")
    for path in options.input:
        if not os.path.exists(path):
            raise Error(f"{path}: no such file, expected an input")
    options.processes = options.processes or len(os.sched_getaffinity(0))
    if options.separator is not None:
        options.separator = options.separator.replace("\\n", "\n").replace("\\t", "\t")
        if not options.separator:
            raise Error("--separator is empty, expected a text such as \\n\\n", USAGE)


def named_values(given, key, values=str):
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise Error(f"{key} {text}: expected NAME=VALUE", USAGE)
        found[name] = values(value)
    return found


def fields_of(options):
    needed, taken = FIELDS[options.format]
    found = named_values(options.field, "--field")
    for name in found:
        if name not in needed + taken:
            raise Error(f"--field {name}: --format {options.format} has the fields {', '.join(needed + taken)}", USAGE)
    return found


def json_or_text(text):
    try:
        return json.loads(text)
    except ValueError:
        return text
