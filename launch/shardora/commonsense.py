"""The commonsense tasks of the DoRA paper: a model, or a model with an adapter, asked and scored in two ways.

    shardora-commonsense --model MODEL --adapter run/adapter --data LLM-Adapters/dataset \\
        --output results

  generated    the papers' protocol: their prompt to the byte, beam search of 4, 32 new tokens, the first answer's name
               in what the model wrote; where there is none, the question is wrong
  likelihood   of every answer that a question offers, the log-likelihood of "the correct answer is …" after the same
               prompt; the highest one is the model's

The two are different measures and never averaged. A question that is too long for the model counts as wrong in both.
--output gets a folder for each task: its prompts and options, what was written (generated.jsonl) and the likelihoods
(scores.jsonl); and commonsense.json. What follows -- goes to the program, --parallel.tensor=2 for one.
"""

import dataclasses
import itertools
import json
import os
import re
import sys
import time

from shardora import dataset_file
from shardora.atomic_file import write_text
from shardora.data import prompts
from shardora.data.options import LONGEST_RECORD
from shardora.data.records import records
from shardora.data.samples import Pair, parse
from shardora.data.tokenizer import Encoder
from shardora.errors import OUTPUT, USAGE, Arguments, Error, one_line, shown
from shardora.program import Program, add_program_arguments, split_flags


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
_RESPONSE = "### Response:"
_FORMAT = re.compile(r"Answer format: *([^\n]*)")


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
    for record in records(path, LONGEST_RECORD):
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
    found = re.search("|".join(TASKS[task]), text.split(_RESPONSE)[0].strip())
    return found.group(0) if found else None


_NEW_TOKENS, _BEAMS = 32, 4
_LEAD = "the correct answer is "
_PROMPT = "llm-adapters-evaluation"
_SCORES = ("generated", "likelihood")


def parser():
    arguments = Arguments(prog="shardora-commonsense", description=__doc__)
    arguments.add_argument("--model", required=True, metavar="FOLDER")
    arguments.add_argument("--adapter", metavar="FOLDER", help="a PEFT adapter folder or a checkpoint")
    arguments.add_argument("--tokenizer", metavar="FOLDER", help="where it is not the model's")
    arguments.add_argument("--data", required=True, metavar="FOLDER", help="TASK/test.json for each task")
    arguments.add_argument("--output", required=True, metavar="FOLDER")
    arguments.add_argument("--tasks", nargs="+", metavar="TASK", help="(all that --data has)")
    arguments.add_argument("--scores", nargs="+", choices=_SCORES, default=list(_SCORES))
    arguments.add_argument("--most", type=int, metavar="N", help="the first N questions of each task")
    add_program_arguments(arguments)
    return arguments


def chosen_tasks(options):
    if not os.path.isdir(options.data):
        raise Error(f"--data {options.data}: no such folder", USAGE)
    if options.most is not None and options.most < 1:
        raise Error(f"--most is {options.most}, expected 1 or more", USAGE)
    unknown = [task for task in options.tasks or [] if task not in TASKS]
    if unknown:
        raise Error(f"--tasks {unknown[0]}: no such task, expected some of {', '.join(TASKS)}", USAGE)
    found = options.tasks or [task for task in TASKS if os.path.isdir(os.path.join(options.data, task))]
    if not found:
        raise Error(f"--data {options.data}: has no folder of a task, expected some of {', '.join(TASKS)}", USAGE)
    return found


class Evaluator:
    """Puts questions to one model."""

    def __init__(self, options, flags):
        self.encoder = Encoder(options.tokenizer or options.model, options.model)
        self._prompt = prompts.choose(_PROMPT, "instruction", self.encoder)
        adapter = [f"--adapter.path={options.adapter}"] if options.adapter else []
        self._program = Program(options.shardora, options.ranks, [f"--model.path={options.model}", *adapter, *flags])

    def fits(self, question):
        longest = self.encoder.longest or sys.maxsize
        asked = len(self._prompt.ask(Pair(question.instruction, ""), self.encoder, question.where))
        options = (self._option(question, name) for name in question.names)
        return asked + _NEW_TOKENS <= longest and all(len(ids) <= longest for ids, _ in options)

    def _option(self, question, name):
        """(token ids, how many of them come before the option)"""
        pair = Pair(question.instruction, _LEAD + name)
        prompt = self._prompt.text(pair)
        ids, places = self.encoder.encode_prompt(prompt + pair.answer)
        return ids, next(k for k, (_, end) in enumerate(places) if end > len(prompt))

    def generated(self, questions, task, folder):
        """How many are right."""
        path = os.path.join(folder, "prompts.safetensors")
        asked = [self._prompt.ask(Pair(q.instruction, ""), self.encoder, q.where) for q in questions]
        about = {"part": "prompts", "tokenizer_sha256": self.encoder.sha256}
        dataset_file.write(path, [(ids, [0] * len(ids)) for ids in asked], about)
        result = self._program.run(
            "generate",
            f"--generate.prompts={path}",
            f"--generate.beams={_BEAMS}",
            f"--generate.max_new_tokens={_NEW_TOKENS}",
        )
        right, lines = 0, []
        for question, sequence in zip(questions, result["sequences"], strict=True):
            text = self.encoder.tokenizer.decode(sequence["tokens"], skip_special_tokens=True)
            found = extract(text, task)
            right += found == question.answer
            line = {"question": question.where, "text": text, "found": found, "answer": question.answer}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        write_text(os.path.join(folder, "generated.jsonl"), "".join(lines))
        return right

    def likeliest(self, questions, _, folder):
        path = os.path.join(folder, "choices.safetensors")
        options = [self._option(question, name) for question in questions for name in question.names]
        dataset_file.write(
            path,
            [(ids, [0] * prompt + [1] * (len(ids) - prompt)) for ids, prompt in options],
            {"part": "choices", "tokenizer_sha256": self.encoder.sha256},
            questions=("I64", itertools.accumulate((len(question.names) for question in questions), initial=0)),
            answers=("I32", [question.names.index(question.answer) for question in questions]),
        )
        result = self._program.run(
            "eval", f"--eval.choices={path}", f"--eval.scores={os.path.join(folder, 'scores.jsonl')}"
        )
        return round(result["choices"]["accuracy"] * len(questions))


def measure(evaluator, options, task):
    folder = os.path.join(options.output, task)
    questions = read(options.data, task, options.most)
    fitting = [question for question in questions if evaluator.fits(question)]
    row = {"task": task, "questions": len(questions), "too_long": len(questions) - len(fitting)}
    row["chance"] = sum(1 / len(question.names) for question in questions) / len(questions)
    os.makedirs(folder, exist_ok=True)
    for score, ask in (("generated", evaluator.generated), ("likelihood", evaluator.likeliest)):
        if score not in options.scores:
            continue
        begin = time.monotonic()
        right = ask(fitting, task, folder) if fitting else 0
        row[score] = right / len(questions)
        row[f"{score}_seconds"] = round(time.monotonic() - begin, 2)
    return row


def show(rows, scores):
    print(f"{'task':<16}{'questions':>10}{'too long':>10}{'chance':>9}" + "".join(f"{score:>12}" for score in scores))
    for row in rows:
        figures = "".join(f"{100 * row[score]:>11.2f}%" for score in scores)
        print(f"{row['task']:<16}{row['questions']:>10}{row['too_long']:>10}{100 * row['chance']:>8.1f}%{figures}")
    if len(rows) > 1:
        means = "".join(f"{100 * sum(row[score] for row in rows) / len(rows):>11.2f}%" for score in scores)
        print(f"{'mean of tasks':<45}{means}")


def main(arguments):
    own, flags = split_flags(arguments)
    options = parser().parse_args(own)
    scores = [score for score in _SCORES if score in options.scores]
    tasks = chosen_tasks(options)
    evaluator = Evaluator(options, flags)
    try:
        os.makedirs(options.output, exist_ok=True)
    except OSError as problem:
        raise Error(f"--output {options.output}: {one_line(problem.strerror)}", OUTPUT) from None
    rows = [measure(evaluator, options, task) for task in tasks]
    show(rows, scores)
    result = {"model": options.model, "adapter": options.adapter, "tasks": rows}
    write_text(os.path.join(options.output, "commonsense.json"), json.dumps(result, indent=1))
    print(json.dumps(result))
