"""Prompts: how an instruction becomes the text that a model reads before its answer. Each prompt makes the tokens and
the mask of a sample, and the tokens of a question to a trained model; `describe` is what a dataset file keeps of it.

    none            the prompt as it is, the answer right after it
    alpaca          Stanford Alpaca's two texts
    llm-adapters    what LLM-Adapters and the DoRA paper train commonsense on, with their code's line ends and blanks
    llm-adapters-evaluation   what the same papers ask with, which differs in blanks
    chat            the tokenizer's chat template (chat.py)
    FILE            a Jinja chat template, or a text with {instruction} and perhaps {input}
"""

import dataclasses
import json
import os

from shardora.data.chat_template import ChatPrompt, TrainingExample
from shardora.data.samples import Conversation, Document
from shardora.errors import USAGE, Error

_HEAD = "Below is an instruction that describes a task"
_CONTEXT = ", paired with an input that provides further context"
_TASK = ". Write a response that appropriately completes the request."
_BLANKS = " " * 16


def _papers(after_task, blank_line, input_part):
    """The papers' texts are f-strings inside indented code, so that their lines carry its indentation."""
    parts = [("### Instruction:", "{instruction}")] + ([("### Input:", "{input}")] if input_part else [])
    body = "".join(f"{_BLANKS}{title}\n{_BLANKS}{value}\n{blank_line}\n" for title, value in parts)
    return f"{_HEAD}{_CONTEXT if input_part else ''}{_TASK}{after_task}\n\n{body}{_BLANKS}### Response:\n{_BLANKS}"


_NAMED = {
    "alpaca": (
        f"{_HEAD}{_CONTEXT}{_TASK}\n\n### Instruction:\n{{instruction}}\n\n### Input:\n{{input}}\n\n### Response:\n",
        f"{_HEAD}{_TASK}\n\n### Instruction:\n{{instruction}}\n\n### Response:\n",
    ),
    "llm-adapters": (_papers(" ", _BLANKS, True), _papers("  ", _BLANKS, False)),
    "llm-adapters-evaluation": (_papers("", "", True), _papers(" ", "", False)),
    "none": (None, "{instruction}"),
}
NAMES = ("chat", *_NAMED)


@dataclasses.dataclass
class TextPrompt:
    """One text for instructions with an input and one without. Where there is none for an input, it joins the
    instruction after an empty line."""

    name: str
    with_input: str
    without_input: str
    kind = "text"

    def describe(self):
        return json.dumps({"with_input": self.with_input, "without_input": self.without_input}, ensure_ascii=False)

    def text(self, pair):
        instruction = "\n\n".join(part for part in (pair.system, pair.instruction) if part)
        if not pair.input:
            return _fill(self.without_input, instruction, "")
        if self.with_input is None:
            return _fill(self.without_input, f"{instruction}\n\n{pair.input}", "")
        return _fill(self.with_input, instruction, pair.input)

    def learn(self, sample, encoder, where, train_on="completion"):
        """The sample as a TrainingExample. A token with characters of both prompt and answer belongs to the answer."""
        if isinstance(sample, Document):
            tokens = _ended(encoder.ids(sample.text, add_special=True), encoder)
            return TrainingExample(tokens, [(0, len(tokens))] if sample.text.strip() else [], asked=sample.text)
        pair = sample.pair(where) if isinstance(sample, Conversation) else sample
        prompt = self.text(pair)
        if not pair.answer.strip():
            return TrainingExample([], [], asked=prompt)
        tokens, places = encoder.encode(prompt + pair.answer, add_special=True)
        first = next(k for k, (_, end) in enumerate(places) if end > len(prompt))
        joined = places[first][0] < len(prompt)
        tokens = _ended(tokens, encoder)
        begin = 0 if train_on == "all" else first
        return TrainingExample(tokens, [(begin, len(tokens))], asked=prompt, joined=joined)

    def ask(self, sample, encoder, where):
        pair = sample.pair(where) if isinstance(sample, Conversation) else sample
        return encoder.encode_prompt(self.text(pair))[0]

    def end_tokens(self, encoder):
        return [encoder.end_token()]


def _ended(tokens, encoder):
    end = encoder.end_token()
    return tokens if tokens[-1:] == [end] else tokens + [end]


def _fill(template, instruction, given):
    """Both at once: what a user's text has in braces stays as it is."""
    pieces = template.split("{instruction}")
    return instruction.join(piece.replace("{input}", given) for piece in pieces)


def choose(name, form, encoder, options=None):
    """The prompt that --prompt names; None: the usual one for the format."""
    if name is None:
        if form in ("text", "completion"):
            name = "none"
        else:
            name = "chat" if encoder.tokenizer.chat_template else "alpaca"
    if name == "chat":
        if not encoder.tokenizer.chat_template:
            raise Error("--prompt chat: the tokenizer has no chat template; take alpaca, or a template's FILE", USAGE)
        return ChatPrompt("chat", encoder.tokenizer.chat_template, encoder, options)
    if options and name in _NAMED:
        raise Error(f"--template-option is for chat templates, but the prompt is {name}", USAGE)
    if name in _NAMED:
        return TextPrompt(name, *_NAMED[name])
    return _from_file(name, encoder, options)


def _from_file(path, encoder, options):
    if not os.path.isfile(path):
        raise Error(f"--prompt {path}: neither a file nor one of {', '.join(NAMES)}", USAGE)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise Error(
            f"--prompt {path}: not UTF-8, expected a Jinja chat template or a text with {{instruction}}"
        ) from None
    name = os.path.basename(path)
    if "{%" in text or "{{" in text:
        return ChatPrompt(name, text, encoder, options)
    if options:
        raise Error(f"--template-option is for chat templates, but {path} is none", USAGE)
    if "{instruction}" not in text:
        raise Error(
            f"--prompt {path}: no {{instruction}} in it, nor Jinja's {{{{ or {{%; expected a text with "
            "{instruction} and perhaps {input}, or a chat template"
        )
    return TextPrompt(name, text if "{input}" in text else None, text)


def stored(metadata, encoder):
    """The prompt that a dataset file was made with."""
    name, text = metadata.get("prompt"), metadata.get("prompt_template")
    if name is None or text is None:
        raise Error("the dataset's metadata has no prompt; name it with --prompt")
    if metadata.get("prompt_kind") in ("chat", "named chat"):
        template = text if metadata["prompt_kind"] == "chat" else json.loads(text)
        return ChatPrompt(name, template, encoder, json.loads(metadata.get("template_options", "{}")))
    parts = json.loads(text)
    return TextPrompt(name, parts["with_input"], parts["without_input"])
