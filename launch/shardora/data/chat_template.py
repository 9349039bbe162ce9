"""Chat templates, rendered by transformers itself, and which tokens of a conversation the assistant wrote.

A turn's answer begins where the conversation before it, rendered with the generation prompt, ends; it ends where the
conversation up to it ends. Both are checked against the whole rendered text, which is tokenized once. A template that
marks its answers itself, with {% generation %}, is used as it marks them."""

import contextlib
import dataclasses
import json

from shardora.data.samples import Conversation, Pair
from shardora.errors import Error, one_line

_SOME_TOOL = {"type": "function", "function": {"name": "a", "description": "a", "parameters": {"type": "object"}}}
_ADVICE = "where it is not the last turn, use --train-on last; else a template with {% generation %} by --prompt FILE"


@dataclasses.dataclass
class TrainingExample:
    tokens: list
    turns: list  # (begin, end) of the tokens that are learned, one an answer; none: the sample is empty
    asked: str  # what stands before the first answer: samples that share it belong together
    joined: bool = False  # whether a token has characters of both prompt and answer


@dataclasses.dataclass
class ChatPrompt:
    name: str
    template: object  # a text, or name -> text
    encoder: object
    options: dict = None

    def __post_init__(self):
        self.options = self.options or {}
        self._generation_prompt = {}  # template -> as it was seen last

    @property
    def kind(self):
        return "chat" if isinstance(self.template, str) else "named chat"

    def describe(self):
        return self.template if isinstance(self.template, str) else json.dumps(self.template, ensure_ascii=False)

    def template_for(self, tools, where):
        """As transformers chooses: tool_use where there are tools, if it is there, else default."""
        if isinstance(self.template, str):
            return self.template
        name = "tool_use" if tools and "tool_use" in self.template else "default"
        if name not in self.template:
            names, kind = ", ".join(sorted(self.template)), "with tools" if tools else "without tools"
            raise Error(
                f"{where}: the tokenizer's chat templates are {names}; a conversation {kind} needs default"
                f"{' or tool_use' * bool(tools)}: give a template with --prompt FILE"
            )
        return self.template[name]

    def learn(self, sample, encoder, where, train_on="completion"):
        """The sample as a TrainingExample."""
        return _with_arguments(sample, lambda sample: self._learn(sample, encoder, where, train_on))

    def _learn(self, sample, encoder, where, train_on):
        messages, tools, wanted = _turns_of(sample)
        text = self.render(messages, tools, where)
        tokens, places = encoder.encode(text, add_special=False)
        ends = [end for _, end in places]
        answers = [k for k, message in enumerate(messages) if message["role"] == "assistant"]
        asked = json.dumps(messages[: answers[0]] if answers else messages, sort_keys=True, ensure_ascii=False)
        if train_on == "last":
            wanted = [k for k in wanted if k == answers[-1]]
        if train_on == "all":
            turns = [_tokens_of((0, len(text)), tokens, ends, text, encoder)]
        elif _marks_answers(self.template_for(tools, where)):
            marked = self._marked(messages, tools, where)
            turns = [turn for k, turn in zip(answers, marked) if k in wanted]
        else:
            spans = self._spans(text, messages, wanted, tools, where)
            turns = [_tokens_of(span, tokens, ends, text, encoder) for span in spans]
        if turns and (answers if train_on == "all" else wanted)[-1:] == [len(messages) - 1]:
            tokens, turns = _end_last(tokens, turns, encoder)
        if train_on == "all":
            return TrainingExample(tokens, [(0, len(tokens))], asked)
        return TrainingExample(tokens, [turn for turn in turns if turn[0] < turn[1]], asked)

    def ask(self, sample, encoder, where):
        return _with_arguments(sample, lambda sample: self._ask(sample, encoder, where))

    def _ask(self, sample, encoder, where):
        messages, tools, _ = _turns_of(sample)
        if messages and messages[-1]["role"] == "assistant":
            messages = messages[:-1]
        return encoder.ids(self.render(messages, tools, where, asking=True), add_special=False)

    def end_tokens(self, encoder):
        """What ends an answer of this template: it may be another token than the tokenizer's own."""
        sample = Pair("a", "b")
        if not isinstance(self.template, str) and "default" not in self.template:
            sample = Conversation(sample.messages(), [_SOME_TOOL])
        example = self.learn(sample, encoder, f"--prompt {self.name}")
        ends = [example.tokens[end - 1] for _, end in example.turns]
        return ends + [encoder.end] * (encoder.end is not None and encoder.end not in ends)

    def render(self, messages, tools, where, asking=False):
        return self._apply(messages, tools, where, tokenize=False, add_generation_prompt=asking)

    def _apply(self, messages, tools, where, **how):
        import jinja2

        try:
            return self.encoder.tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=self.template_for(tools, where), **self.options, **how
            )
        except jinja2.TemplateSyntaxError as problem:
            raise Error(
                f"--prompt {self.name}, line {problem.lineno}: not a Jinja template: {one_line(problem.message)}"
            ) from None
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as problem:
            raise Error(f"{where}: the chat template refuses this conversation: {one_line(problem)}") from None

    def _marked(self, messages, tools, where):
        """The turns of a template with {% generation %}, with the token that ends each."""
        result = self._apply(messages, tools, where, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        tokens, mask = result["input_ids"], result["assistant_masks"]
        turns, special = [], self.encoder.special
        for k, on in enumerate(mask):
            if on and k and mask[k - 1]:
                turns[-1][1] = k + 1
            elif on:
                turns.append([k, k + 1])
        for turn in turns:
            if turn[1] < len(tokens) and tokens[turn[1] - 1] not in special and tokens[turn[1]] in special:
                turn[1] += 1
        answers = sum(message["role"] == "assistant" for message in messages)
        if len(turns) != answers:
            raise Error(f"{where}: the template's {{% generation %}} marks {len(turns)} answers of {answers}")
        return [tuple(turn) for turn in turns]

    def _spans(self, text, messages, answers, tools, where):
        """The characters of assistant turns. A conversation's very first turn answers nothing: no characters."""
        spans = []
        for k in answers:
            place = f"{where}, turn {k + 1}"
            begin = self._begin(text, messages, k, tools, place) if k else 0
            end = self._end(text, messages, k, begin, tools, place) if k else 0
            spans.append((begin, end))
        return spans

    def _begin(self, text, messages, k, tools, where):
        asked = self.render(messages[:k], tools, where, asking=True)
        template = self.template_for(tools, where)
        known = self._generation_prompt.get(template)
        if known and asked.endswith(known) and text.startswith(asked):
            return len(asked)  # a rendering saved
        without_prompt = self.render(messages[:k], tools, where)
        if asked == without_prompt:
            # Some templates end a user's turn with what starts the answer. Others start it in the answer's own turn.
            if text.startswith(without_prompt) and _starts_with(text[len(without_prompt) :], _visible(messages[k])):
                return len(without_prompt)
            raise Error(
                f"{where}: the chat template has no generation prompt (add_generation_prompt changes nothing), "
                "so that the answer's start is unknown; give one that has it with --prompt FILE"
            )
        if text.startswith(asked):
            self._generation_prompt[template] = asked.removeprefix(without_prompt)
            return len(asked)
        # A generation prompt may close the thinking that an answer has: what both share is the prompt.
        begin = _common(asked, text)
        thinks = "reasoning_content" in messages[k] or "</think>" in (messages[k].get("content") or "")
        if not thinks or not text.startswith(without_prompt) or begin <= len(without_prompt):
            raise Error(
                f"{where}: the chat template renders the conversation before this turn otherwise once the turn "
                f"follows; {_ADVICE}"
            )
        return begin

    def _end(self, text, messages, k, begin, tools, where):
        if k == len(messages) - 1:
            return len(text)
        here = self.render(messages[: k + 1], tools, where)
        if text.startswith(here):
            return len(here)
        # The template writes its last turn otherwise (thinking that later turns lose, a text's end): look for what the
        # turn has in common in both.
        alone, rest, answer = here[_common(here, text[:begin]) :], text[begin:], _visible(messages[k])
        shared = _overlap(alone, rest) or rest[: _common(alone, rest)]
        if not answer or answer not in shared:
            raise Error(f"{where}: the chat template renders this turn otherwise once others follow; {_ADVICE}")
        return begin + len(shared)


def _marks_answers(template):
    return "generation %}" in template.replace("-%}", " %}").replace("  ", " ") and "endgeneration" in template


def _with_arguments(sample, use):
    """use(sample) with its calls' arguments as objects; some templates join them to text, and get them as they are."""
    parsed = sample.parsed() if isinstance(sample, Conversation) else sample
    try:
        return use(parsed)
    except Error:
        if parsed is sample:
            raise
        with contextlib.suppress(Error):
            return use(sample)
        raise


def _turns_of(sample):
    """(messages, tools, wanted): the places of the answers to learn. OpenAI's `weight` 0 takes one out; so does having
    an empty answer."""
    if isinstance(sample, Pair):
        messages, tools = sample.messages(), None
    else:
        messages, tools = sample.messages, sample.tools
    wanted = [k for k, message in enumerate(messages) if message["role"] == "assistant" and _says_something(message)]
    return [{key: value for key, value in message.items() if key != "weight"} for message in messages], tools, wanted


def _says_something(message):
    return message.get("weight", 1) and ((message.get("content") or "").strip() or message.get("tool_calls"))


def _visible(message):
    """What every template shows of an answer: some take its thinking away."""
    return (message.get("content") or "").split("</think>")[-1].strip()


def _starts_with(text, answer):
    return bool(answer) and text.lstrip().startswith(answer)


def _common(left, right):
    """The length of the common start."""
    if right.startswith(left):
        return len(left)
    return next((k for k, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))


def _overlap(left, right):
    """The longest end of `left` that `right` starts with."""
    return next((left[k:] for k in range(len(left)) if right.startswith(left[k:])), "")


def _tokens_of(span, tokens, ends, text, encoder):
    """The tokens with a character of the span. What follows the token that ends the turn, a line break, is the
    template's: no model writes it."""
    begin = next((k for k, end in enumerate(ends) if end > span[0]), len(tokens))
    stop = next((k for k, end in enumerate(ends) if end > span[1]), len(tokens)) if span[1] else begin
    last = next((k for k in range(stop - 1, begin - 1, -1) if tokens[k] in encoder.special), None)
    if last is not None and not text[ends[last] : ends[stop - 1]].strip():
        stop = last + 1
    return begin, stop


def _end_last(tokens, turns, encoder):
    """A conversation whose last answer no token ends gets the end-of-sequence token."""
    begin, stop = turns[-1]
    if begin >= stop or tokens[stop - 1] in encoder.special:
        return tokens, turns
    return tokens + [encoder.end_token()], turns[:-1] + [(begin, len(tokens) + 1)]
