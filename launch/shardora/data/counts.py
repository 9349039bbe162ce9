"""What became of the records, counted, and without_prompt at the end."""

import collections
import json

from shardora.data.sequences import CUT, EMPTY, KEPT, NO_TARGET, TOO_LONG
from shardora.data.show import marked_text
from shardora.errors import Error

_OUTCOMES = {  # key of the result, and words
    KEPT: ("kept", "kept"),
    CUT: ("cut", "cut"),
    TOO_LONG: ("dropped_too_long", "dropped as too long"),
    EMPTY: ("dropped_empty", "dropped as empty"),
    NO_TARGET: ("dropped_no_target", "dropped with nothing to learn"),
}


class Tally:
    """What became of the records."""

    def __init__(self):
        self.outcomes, self.first = collections.Counter(), {}
        self.unknown = self.joined = self.marked = self.nulls = 0
        self.first_marked = None
        self.ends = set()
        self._shapes = {}  # of each file: its records' shape, and where it was seen first

    def add(self, batch):
        for where, shape, outcome in zip(batch.wheres, batch.shapes, batch.outcomes):
            path = where.rpartition(", ")[0] or where
            known, seen = self._shapes.setdefault(path, (shape, where))
            if shape != known:
                raise Error(f"{where}: {shape}, but {seen} has {known}; a file must keep to one format, part it")
            self.outcomes[outcome] += 1
            self.first.setdefault(outcome, where)
        if self.first_marked is None and any(batch.marked):
            self.first_marked = batch.wheres[batch.marked.index(True)]
        self.marked += sum(batch.marked)
        self.unknown += batch.unknown
        self.ends |= batch.ends
        self.joined += batch.joined
        self.nulls += batch.nulls

    def text(self):
        parts = []
        for outcome, (_, words) in _OUTCOMES.items():
            if self.outcomes[outcome] or outcome == KEPT:
                first = f" (first: {self.first[outcome]})" if outcome != KEPT else ""
                parts.append(f"{self.outcomes[outcome]} {words}{first}")
        return ", ".join(parts)

    def counts(self):
        return {
            "records": sum(self.outcomes.values()),
            **{key: self.outcomes[outcome] for outcome, (key, _) in _OUTCOMES.items()},
        }


def _why(builder):
    has_none = builder.prompt.name == "alpaca" and not builder.encoder.tokenizer.chat_template
    return ": the tokenizer has no chat template, --prompt FILE gives another" if has_none else ""


def print_summary(builder, tally, parts, duplicates, duplicates_dropped, seconds):
    """Prints counts, a sequence and the result. `parts`: (path, spool) for training, and of what is held out."""
    print(f"{sum(tally.outcomes.values())} records: {tally.text()}")
    outcome = "dropped" if duplicates_dropped else "kept (--drop-duplicates drops them)"
    print(f"{duplicates} sequences equal an earlier one of their part: {outcome}")
    if tally.unknown:
        print(f"{tally.unknown} tokens stand for text that the vocabulary lacks")
    if tally.nulls:
        print(
            f"{tally.nulls} records have null in their tools or calls, which is kept: in files that Arrow has written it "
            "may stand for a key that was not there"
        )
    if tally.marked:
        print(
            f"{tally.marked} records have the text of a special token in them, which is read as that token (first: "
            f"{tally.first_marked})"
        )
    if tally.joined:
        print(
            f"In {tally.joined} sequences a token has characters of both prompt and answer, and is learned; a prompt "
            "that ends in a line break, or without a blank, avoids that"
        )
    for path, spool in parts:
        print(
            f"{path}: {spool.sequences} sequences, {spool.tokens} tokens, "
            f"{100 * spool.targets / spool.tokens:.1f} % of them learned"
        )
    print(f"Prompt {builder.prompt.name}{_why(builder)}. The first, what is learned marked:")
    print(marked_text(builder.encoder, *parts[0][1].first()))
    result = {
        **_part(*parts[0]),
        **tally.counts(),
        "duplicates": duplicates,
        "duplicates_dropped": duplicates_dropped,
        "unknown_tokens": tally.unknown,
        "joined": tally.joined,
        "special_in_text": tally.marked,
        "nulls": tally.nulls,
        "prompt": builder.prompt.name,
        "seconds": round(seconds, 2),
    }
    if len(parts) > 1:
        result["eval"] = _part(*parts[1])
    print(json.dumps(result))


def _part(path, spool):
    return {
        "output": path,
        "sequences": spool.sequences,
        "tokens": spool.tokens,
        "targets": spool.targets,
        "target_share": round(spool.targets / spool.tokens, 4),
    }
