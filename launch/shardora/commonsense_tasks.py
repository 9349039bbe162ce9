"""The eight commonsense tasks of the DoRA paper, as LLM-Adapters keeps them: one JSON array a task, of records with an
instruction and the name of the right answer."""

import dataclasses
import os
import re

from shardora.data.records import records
from shardora.data.samples import parse
from shardora.errors import Error, one_line, shown


def _numbered(word, count):
    return [f"{word}{k}" for k in range(1, count + 1)]


TASKS = {  # folder: the names that its answers may have
    "boolq": ["true", "false"],
    "piqa": _numbered("solution", 2),
    "social_i_qa": _numbered("answer", 5),
    "hellaswag": _numbered("ending", 4),
    "winogrande": _numbered("option", 2),
    "ARC-Easy": _numbered("answer", 5),
    "ARC-Challenge": _numbered("answer", 5),
    "openbookqa": _numbered("answer", 5),
}
_MARK = "### Response:"
_FORMAT = re.compile(r"Answer format: *([^\n]*)")
_LONGEST_RECORD = 1 << 23  # bytes


@dataclasses.dataclass
class Question:
    where: str
    instruction: str
    answer: str  # the right one's name
    names: list  # of the answers that this question offers


def read(folder, task, most=None):
    """The questions of a task's test file, at most so many."""
    path = os.path.join(folder, task, "test.json")
    if not os.path.isfile(path):
        raise Error(f"{path}: no such file, expected LLM-Adapters' test questions of {task}")
    questions = []
    for record in records(path, _LONGEST_RECORD):
        if most is not None and len(questions) == most:
            break
        questions.append(_question(record, task))
    return questions


def _question(record, task):
    value = parse(record.value, record.where) if isinstance(record.value, bytes) else record.value
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("instruction", "answer")):
        found = ", ".join(map(str, value)) if isinstance(value, dict) else shown(value)
        wanted = "a record with the texts instruction and answer"
        raise Error(f"{record.where}: found {one_line(found)}; expected {wanted}")
    names = offered(value["instruction"], task)
    if value["answer"] not in names:
        raise Error(f"{record.where}: its answer is {shown(value['answer'])}, expected one of {', '.join(names)}")
    return Question(record.where, value["instruction"], value["answer"], names)


def offered(instruction, task):
    """The answers that a question offers: those of its line `Answer format:`, else all of the task."""
    found = _FORMAT.search(instruction)
    names = [name.strip() for name in found.group(1).split("/")] if found else []
    return names if len(names) > 1 and set(names) <= set(TASKS[task]) else TASKS[task]


def extract(text, task):
    """The answer in what a model wrote after the prompt, by the papers' rule: the first name of an answer of this task,
    before a second "### Response:". None where there is none, which counts as wrong."""
    found = re.search("|".join(TASKS[task]), text.split(_MARK)[0].strip())
    return found.group(0) if found else None
