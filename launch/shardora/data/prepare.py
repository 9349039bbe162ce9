"""Makes dataset files from text, prompts with completions, instructions, or chats.

    shardora-prepare --tokenizer MODEL --input chats.jsonl --format chat --output train.safetensors --eval-fraction 0.05

Formats and their fields (other names: --field NAME=THEIRS, as in --field prompt=question --field completion=answer):

  text         text files, or records with text. A file is one document; --separator parts it, say '\\n\\n'.
               Every token is learned. A document longer than the model reads: --overlong split
  completion   prompt, completion, perhaps system
  instruction  instruction, output, perhaps input and system (Alpaca, LLM-Adapters)
  chat         messages with role and content (OpenAI), or conversations with from and value (ShareGPT); perhaps tools.
               System, user and tool turns are read, never learned, nor is an assistant's turn with weight 0

Files: JSON and JSON Lines (an array, or one object a line), CSV, Parquet (with pyarrow), by the ends of their names; all
else is text. They may be compressed (gzip, bzip2, xz) and larger than memory. A key that is null in a turn or anywhere in
Parquet counts as absent; arguments of calls may be JSON text. Output is the same for any number of processes.

Learned are the answer's tokens and the token that ends it, not the prompt (--train-on). A token with characters of both
prompt and answer belongs to the answer. The token that begins a sequence comes from the tokenizer or the chat template,
once. --prompt none (the usual one for completions) joins prompt and completion as they are; alpaca and llm-adapters are
those papers' texts, llm-adapters-evaluation is what they ask with; a FILE is a Jinja chat template, or a text with
{instruction} and perhaps {input}. Instructions and chats take the tokenizer's chat template if it has one, else alpaca;
of named templates tool_use for conversations with tools, else default.

Nothing is left out silently: records that are too long, empty or without anything to learn are counted and the first of
them is named. The last line of standard output is a JSON object with all counts.
"""

import json
import os
import sys
import time

from shardora.data import prompts
from shardora.data.counts import Tally, print_summary
from shardora.data.options import fields_of, json_or_text, named_values, parser, resolve
from shardora.data.records import records
from shardora.data.samples import Reader
from shardora.data.sequences import Rules, SequenceBuilder
from shardora.data.spool import SpoolFolder, place
from shardora.data.tokenizer import Encoder
from shardora.data.workers import ordered
from shardora.errors import USAGE, Error

_BATCH_RECORDS, _BATCH_BYTES = 256, 1 << 20


def make_builder(options):
    fields = fields_of(options)
    encoder = Encoder(options.tokenizer, options.model)
    prompt = prompts.choose(
        options.prompt,
        options.format,
        encoder,
        named_values(options.template_option, "--template-option", json_or_text),
    )
    if options.sequence_length is None:
        options.sequence_length = encoder.longest
    rules = Rules(options.train_on, options.sequence_length, options.overlong, options.eval_fraction, options.seed)
    return SequenceBuilder(encoder, Reader(options.format, fields), prompt, rules)


def batches(options):
    """Batches of records: of one file each, so that a file which mixes formats is noticed."""
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


def convert(options, builder, train, held_out, tally):
    import tqdm

    total = sum(os.path.getsize(path) for path in options.input)
    with tqdm.tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), file=sys.stderr) as bar:
        for batch in ordered(builder.batch, batches(options), options.processes):
            tally.add(batch)
            in_part = batch.held_out.repeat(batch.lengths)
            for spool, one, each in ((train, ~batch.held_out, ~in_part), (held_out, batch.held_out, in_part)):
                if one.any():
                    spool.add(batch.tokens[each], batch.mask[each], batch.lengths[one], batch.hashes[one])
            bar.update(batch.size)


def metadata(options, builder, tally):
    prompt, given = builder.prompt, vars(options)
    given = {name: value for name, value in given.items() if name not in ("processes", "output", "eval_output")}
    return {
        "tokenizer_sha256": builder.encoder.sha256,
        "source": ", ".join(os.path.basename(path) for path in options.input),
        "prompt": prompt.name,
        "prompt_kind": prompt.kind,
        "prompt_template": prompt.describe(),
        "template_options": json.dumps(getattr(prompt, "options", {})),
        "end_tokens": json.dumps(sorted(tally.ends | {builder.encoder.end} - {None})),
        "arguments": json.dumps(given, ensure_ascii=False),
    }


def _check_parts(options, spools, tally):
    train, held_out = (spool.sequences for spool in spools)
    if not train and not held_out:
        raise Error(f"{options.input[0]}: nothing is left to learn from: {tally.text()}")
    for left, out in ((train, f"all {held_out}"), (held_out or not options.eval_fraction, f"none of {train}")):
        if not left:
            raise Error(
                f"--eval-fraction {options.eval_fraction} holds out {out} sequences; choose another fraction or --seed",
                USAGE,
            )


def finish(options, builder, folder, spools, tally):
    """Duplicates, checks, and the files. Returns [(path, spool)] of what was written, and the number of duplicates."""
    duplicates = [spool.duplicates() for spool in spools]
    if options.drop_duplicates:
        spools = [
            spool.without(again, folder.spool()) if again.any() else spool for spool, again in zip(spools, duplicates)
        ]
    _check_parts(options, spools, tally)
    about = metadata(options, builder, tally)
    parts = [(options.output, spools[0], "train"), (options.eval_output, spools[1], "eval")]
    parts = parts[: 1 + bool(options.eval_fraction)]
    place([(spool.whole({**about, "part": part}), path) for path, spool, part in parts])
    return [(path, spool) for path, spool, _ in parts], int(sum(again.sum() for again in duplicates))


def main(arguments):
    begin = time.monotonic()
    options = parser(__doc__).parse_args(arguments)
    resolve(options)

    sys.stdout.reconfigure(errors="backslashreplace")
    builder, tally = make_builder(options), Tally()
    with SpoolFolder(options.output) as folder:
        spools = [folder.spool(), folder.spool()]
        convert(options, builder, *spools, tally)
        parts, duplicates = finish(options, builder, folder, spools, tally)
        print_summary(builder, tally, parts, duplicates, options.drop_duplicates, time.monotonic() - begin)
