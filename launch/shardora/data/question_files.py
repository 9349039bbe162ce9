"""Dataset files of questions: prompts to be continued, and options to be scored. They fit into memory."""

import numpy
from safetensors.numpy import save_file

from shardora.atomic_file import atomic_file


def write_prompts(path, prompts, encoder, **about):
    """`prompts`: lists of token ids; `about` joins the file's metadata."""
    tokens, offsets = _joined(prompts)
    mask = numpy.zeros(len(tokens), numpy.uint8)
    _write(path, {"tokens": tokens, "offsets": offsets, "loss_mask": mask}, encoder, {"part": "prompts", **about})


def write_choices(path, questions, encoder):
    """`questions`: pairs of options, each (token ids, how many of them come before the option), and the place of the
    right one."""
    options = [option for asked, _ in questions for option in asked]
    tokens, offsets = _joined([ids for ids, _ in options])
    mask = numpy.concatenate([numpy.arange(len(ids)) >= prompt for ids, prompt in options]).astype(numpy.uint8)
    bounds = numpy.cumsum([0] + [len(asked) for asked, _ in questions], dtype=numpy.int64)
    answers = numpy.array([answer for _, answer in questions], numpy.int32)
    _write(
        path,
        {"tokens": tokens, "offsets": offsets, "loss_mask": mask, "questions": bounds, "answers": answers},
        encoder,
        {"part": "choices"},
    )


def _joined(sequences):
    tokens = numpy.concatenate([numpy.array(ids, numpy.int32) for ids in sequences])
    return tokens, numpy.cumsum([0] + [len(ids) for ids in sequences], dtype=numpy.int64)


def _write(path, tensors, encoder, about):
    with atomic_file(path) as name:
        save_file(tensors, name, {"format": "shardora.dataset.v1", "tokenizer_sha256": encoder.sha256, **about})
