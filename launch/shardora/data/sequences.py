"""Records become sequences: tokens and a mask, or a reason why there is none. This is the work that several processes
share; its result depends on the record alone."""

import dataclasses
import hashlib

import numpy

from shardora.data.samples import Conversation
from shardora.errors import Error

KEPT, CUT, TOO_LONG, EMPTY, NO_TARGET = range(5)


@dataclasses.dataclass
class Rules:
    train_on: str  # completion, last or all
    longest: int = None  # tokens; None: any number
    overlong: str = "error"  # drop, truncate, split
    eval_fraction: float = 0.0
    seed: int = 0


@dataclasses.dataclass
class Batch:
    """What became of some records, in their order: `outcomes`, `wheres`, `shapes` and `marked` have one entry
    a record, the arrays one a sequence or a token."""

    tokens: object  # int32
    mask: object  # uint8
    lengths: object  # int64
    hashes: object  # uint64 [sequences, 2]: of tokens and mask
    held_out: object  # bool
    outcomes: list
    nulls: int  # records with null in tools or calls
    joined: int  # sequences in which a token has characters of both prompt and answer
    marked: list  # for each record: whether the text of a special token is in it
    ends: set  # special tokens that end answers
    unknown: int  # tokens that stand for text the vocabulary lacks
    wheres: list
    shapes: list
    size: int  # bytes of input


class SequenceBuilder:
    def __init__(self, encoder, reader, prompt, rules):
        self.encoder, self._reader, self.prompt, self.rules = encoder, reader, prompt, rules

    def batch(self, records):
        outcomes, shapes, marked, held_out, sequences, joined, nulls, ends = [], [], [], [], [], 0, 0, set()
        for record in records:
            sample, shape = self._reader.sample(record)
            example = self.prompt.learn(sample, self.encoder, record.where, self.rules.train_on)
            outcome, made = self._sequences(example, record.where)
            shapes.append(shape)
            marked.append(any(map(self.encoder.has_special_text, sample.texts())))
            outcomes.append(outcome)
            nulls += isinstance(sample, Conversation) and sample.has_nulls()
            sequences += made
            held_out += [self._is_held_out(example.asked)] * len(made)
            joined += example.joined and bool(made)
            ends.update(example.tokens[end - 1] for _, end in example.turns[-1:])
        return Batch(
            tokens=_joined([tokens for tokens, _ in sequences], numpy.int32),
            mask=_joined([mask for _, mask in sequences], numpy.uint8),
            lengths=numpy.array([len(tokens) for tokens, _ in sequences], numpy.int64),
            hashes=numpy.array([_hash(*sequence) for sequence in sequences], numpy.uint64).reshape(-1, 2),
            held_out=numpy.array(held_out, bool),
            outcomes=outcomes,
            joined=joined,
            nulls=nulls,
            marked=marked,
            ends=ends & self.encoder.special,
            unknown=sum(tokens.count(self.encoder.unknown) for tokens, _ in sequences),
            wheres=[record.where for record in records],
            shapes=shapes,
            size=sum(record.size for record in records),
        )

    def _sequences(self, example, where):
        """(outcome, [(tokens, mask)])"""
        if not example.turns:
            return EMPTY, []
        self.encoder.check(example.tokens, where)
        mask = _mask(len(example.tokens), example.turns)
        if self.rules.longest is None or len(mask) <= self.rules.longest:
            return (KEPT, [(example.tokens, mask)]) if any(mask) else (NO_TARGET, [])
        return self._overlong(example.tokens, mask, where)

    def _overlong(self, tokens, mask, where):
        longest = self.rules.longest
        if self.rules.overlong == "error":
            raise Error(
                f"{where}: {len(tokens)} tokens, more than the {longest} of --sequence-length or of the model; "
                "choose --overlong drop or truncate (or, for --format text, split), or a greater length"
            )
        if self.rules.overlong == "drop":
            return TOO_LONG, []
        starts = range(0, len(tokens), longest) if self.rules.overlong == "split" else [0]
        pieces = [(tokens[k : k + longest], [0] + mask[k + 1 : k + longest]) for k in starts]
        pieces = [piece for piece in pieces if any(piece[1])]
        return (CUT, pieces) if pieces else (NO_TARGET, [])

    def _is_held_out(self, asked):
        """By the prompt alone, so that no question is in both parts, however many samples ask it."""
        if not self.rules.eval_fraction:
            return False
        digest = hashlib.blake2b(asked.strip().encode(), digest_size=8, key=b"%d" % self.rules.seed).digest()
        return int.from_bytes(digest, "little") < self.rules.eval_fraction * 2**64


def _mask(length, turns):
    mask = [0] * length
    for begin, end in turns:
        mask[begin:end] = [1] * (end - begin)
    mask[0] = 0  # nothing predicts it
    return mask


def _joined(lists, dtype):
    return numpy.concatenate([numpy.array(values, dtype) for values in lists]) if lists else numpy.empty(0, dtype)


def _hash(tokens, mask):
    content = numpy.array(tokens, "<i4").tobytes() + bytes(mask)
    return numpy.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), "<u8")
