"""Dataset files of questions: prompts to be continued, and options to be scored."""

import os
import tempfile

import numpy
from refusal import OUTPUT, Refusal, one_line
from safetensors.numpy import save_file


def write_prompts(path, prompts, encoder):
    """`prompts`: lists of token ids."""
    tokens, offsets = _joined(prompts)
    _write(path, {"tokens": tokens, "offsets": offsets, "loss_mask": numpy.zeros(len(tokens), numpy.uint8)}, encoder)


def write_choices(path, questions, encoder):
    """`questions`: pairs of options, each (token ids, how many of them come before the option), and the right one's place."""
    options = [option for asked, _ in questions for option in asked]
    tokens, offsets = _joined([ids for ids, _ in options])
    mask = numpy.concatenate([numpy.arange(len(ids)) >= prompt for ids, prompt in options]).astype(numpy.uint8)
    bounds = numpy.cumsum([0] + [len(asked) for asked, _ in questions], dtype=numpy.int64)
    answers = numpy.array([answer for _, answer in questions], numpy.int32)
    _write(
        path,
        {"tokens": tokens, "offsets": offsets, "loss_mask": mask, "questions": bounds, "answers": answers},
        encoder,
    )


def _joined(sequences):
    tokens = numpy.concatenate([numpy.array(ids, numpy.int32) for ids in sequences])
    return tokens, numpy.cumsum([0] + [len(ids) for ids in sequences], dtype=numpy.int64)


def _write(path, tensors, encoder):
    metadata = {"format": "shardora.dataset.v1", "tokenizer_sha256": encoder.sha256}
    try:
        handle, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".eval-")
        os.close(handle)
        save_file(tensors, name, metadata)
        os.replace(name, path)
    except OSError as problem:
        raise Refusal(f"{path}: cannot be written: {one_line(problem.strerror or problem)}", OUTPUT) from None
