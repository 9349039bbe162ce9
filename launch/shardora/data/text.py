"""Text in, text out, for `shardora generate`, which reads and writes token ids.

    shardora-text generate --model MODEL --adapter run/adapter --like train.safetensors "Who was it?" -- --generate.beams=4
    shardora-text encode --tokenizer MODEL --like train.safetensors --input questions.jsonl --output prompts.safetensors
    shardora generate … --generate.prompts=prompts.safetensors | shardora-text decode --tokenizer MODEL

Questions are given on the command line, or as files: lines of text, or records in shardora-prepare's formats, whose answers
are not needed and not looked at. --like takes the prompt template, the format and the names of fields from the dataset
that the model was trained on; without it, --prompt is as in shardora-prepare. What follows -- goes to the program.
"""

import dataclasses
import json
import os
import sys
import tempfile

from shardora import dataset_file
from shardora.data import prompts
from shardora.data.options import FORMATS, LONGEST_RECORD, add_repeated, json_or_text, named_values
from shardora.data.records import TEXT, kind_of, records
from shardora.data.samples import Pair, Reader
from shardora.data.tokenizer import Encoder
from shardora.errors import OUTPUT, USAGE, Arguments, Error, one_line
from shardora.program import Program, add_program_arguments, split_flags


def parser():
    arguments = Arguments(prog="shardora-text", description=__doc__)
    commands = arguments.add_subparsers(dest="command", required=True, parser_class=Arguments)
    generate = commands.add_parser("generate", help="encode, run the program, decode")
    generate.add_argument("--model", required=True, metavar="FOLDER")
    generate.add_argument("--adapter", metavar="FOLDER", help="a PEFT adapter folder or a checkpoint")
    generate.add_argument("--tokenizer", metavar="FOLDER", help="where it is not the model's")
    add_program_arguments(generate)
    encode = commands.add_parser("encode", help="questions to a dataset file of prompts")
    encode.add_argument("--tokenizer", required=True, metavar="FOLDER")
    encode.add_argument("--output", required=True, metavar="FILE")
    for command in (generate, encode):
        _question_arguments(command)
    decode = commands.add_parser("decode", help="the program's result to text")
    decode.add_argument("--tokenizer", required=True, metavar="FOLDER")
    decode.add_argument(
        "result", nargs="?", default="-", metavar="FILE", help="what the program wrote (standard input)"
    )
    for command in (generate, decode):
        command.add_argument("--json", action="store_true", help="one JSON object an answer")
    return arguments


def _question_arguments(command):
    command.add_argument("question", nargs="*", help="questions, as text")
    command.add_argument("--input", nargs="+", default=[], metavar="FILE")
    command.add_argument("--like", metavar="DATASET", help="a dataset file of shardora-prepare")
    command.add_argument("--prompt", metavar="NAME|FILE")
    add_repeated(command, "--template-option", "NAME=VALUE")
    command.add_argument("--format", choices=FORMATS[1:], help="of records (as --like, else instruction)")
    add_repeated(command, "--field", "NAME=THEIRS")


@dataclasses.dataclass
class QuestionFormat:
    """How questions are put to the model."""

    prompt: object
    form: str  # of records
    fields: dict
    ends: list  # tokens that end an answer


def question_format(options, encoder):
    fields = named_values(options.field, "--field")
    if not options.like:
        form = options.format or "instruction"
        chosen = named_values(options.template_option, "--template-option", json_or_text)
        prompt = prompts.choose(options.prompt, form, encoder, chosen)
        return QuestionFormat(prompt, form, fields, prompt.end_tokens(encoder))
    if options.prompt or options.template_option:
        raise Error("--like and --prompt (or --template-option) both choose the prompt; give one", USAGE)
    metadata = dataset_file.read_metadata(options.like)
    if metadata.get("tokenizer_sha256") not in (None, encoder.sha256):
        raise Error(f"--like {options.like}: made with another tokenizer than this; give that one with --tokenizer")
    given = json.loads(metadata.get("arguments", "{}"))
    learned = given.get("format", "text")
    form = options.format or ("instruction" if learned == "text" else learned)
    if not fields and form == learned:
        fields = named_values(given.get("field", []), "--field")
    return QuestionFormat(prompts.stored(metadata, encoder), form, fields, json.loads(metadata.get("end_tokens", "[]")))


def questions(options, question_form):
    """(where, sample) of all questions."""
    yield from ((f"question {k}", Pair(text, "")) for k, text in enumerate(options.question, 1))
    reader = Reader(question_form.form, question_form.fields, asking=True)
    for path in options.input:
        is_text = kind_of(path) == TEXT
        for record in records(path, LONGEST_RECORD, separator="\n" if is_text else None):
            if not is_text:
                yield record.where, reader.sample(record)[0]
            elif record.value.strip():
                yield record.where, Pair(record.value.rstrip("\r"), "")


def encode_questions(options, question_form, encoder):
    """Token ids of all questions."""
    found = []
    for where, sample in questions(options, question_form):
        tokens = question_form.prompt.ask(sample, encoder, where)
        if not tokens:
            raise Error(f"{where}: the prompt has no token, expected a question")
        encoder.check(tokens, where)
        found.append(tokens)
    if not found:
        raise Error("no question; give some, or a file with --input", USAGE)
    return found


def write_prompts(path, found, encoder, question_form):
    about = {"part": "prompts", "tokenizer_sha256": encoder.sha256, "prompt": question_form.prompt.name}
    sequences = [(tokens, [0] * len(tokens)) for tokens in found]
    dataset_file.write(path, sequences, {**about, "end_tokens": json.dumps(question_form.ends)})


def answers(text, encoder):
    """The texts in the program's output, whose last line is the result."""
    try:
        return texts_of(json.loads(text.strip().splitlines()[-1]), encoder)
    except (IndexError, ValueError) as problem:
        raise _unreadable(problem) from None


def texts_of(result, encoder):
    try:
        ids = [one["tokens"] if isinstance(one, dict) else one for one in result["sequences"]]
        return [
            encoder.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for tokens in ids
        ]
    except (ValueError, KeyError, TypeError, OverflowError) as problem:
        raise _unreadable(problem) from None


def _unreadable(problem):
    return Error(
        f"the result cannot be read ({one_line(repr(problem))}); expected the output of shardora generate, "
        'whose last line is {"sequences": …}'
    )


def show(texts, as_json):
    for k, text in enumerate(texts):
        if as_json:
            print(json.dumps({"text": text}, ensure_ascii=False))
        else:
            # One answer is printed as it is, for pipelines; several need something between them.
            print(text if len(texts) == 1 else f"[{k + 1}] {text}")


def generate(options, flags):
    adapter = [f"--adapter.path={options.adapter}"] if options.adapter else []
    program = Program(options.shardora, options.ranks, [f"--model.path={options.model}", *adapter, *flags])
    encoder = Encoder(options.tokenizer or options.model, options.model)
    question_form = question_format(options, encoder)
    found = encode_questions(options, question_form, encoder)
    with tempfile.TemporaryDirectory(prefix="prompts-") as folder:
        path = os.path.join(folder, "prompts.safetensors")
        write_prompts(path, found, encoder, question_form)
        stops = ",".join(map(str, question_form.ends))
        result = program.run("generate", f"--generate.prompts={path}", f"--generate.stop_tokens={stops}")
    show(texts_of(result, encoder), options.json)


def encode(options, _):
    encoder = Encoder(options.tokenizer)
    if os.path.isdir(options.output):
        raise Error(f"{options.output}: is a folder, expected a file's name", OUTPUT)
    question_form = question_format(options, encoder)
    found = encode_questions(options, question_form, encoder)
    write_prompts(options.output, found, encoder, question_form)
    print(
        json.dumps(
            {
                "output": options.output,
                "sequences": len(found),
                "tokens": sum(map(len, found)),
                "stop_tokens": question_form.ends,
            }
        )
    )


def decode(options, _):
    if options.result == "-":
        text = sys.stdin.buffer.read()
    else:
        with open(options.result, "rb") as file:
            text = file.read()
    show(answers(text.decode("utf-8", "replace"), Encoder(options.tokenizer)), options.json)


def main(arguments):
    sys.stdout.reconfigure(errors="backslashreplace")
    own, flags = split_flags(arguments)
    options = parser().parse_args(own)
    if flags and options.command != "generate":
        raise Error("what follows -- is for the program, which only generate runs", USAGE)
    return {"generate": generate, "encode": encode, "decode": decode}[options.command](options, flags)
