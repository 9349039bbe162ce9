"""What a record is: a document, an instruction with its answer, or a conversation. The names that are understood are
those of Alpaca, LLM-Adapters, OpenAI and ShareGPT; --field maps others onto them."""

import contextlib
import dataclasses
import json

from shardora.errors import Error, shown

FIELDS = {  # needed, then taken where they are there
    "text": (["text"], []),
    "completion": (["prompt", "completion"], ["system"]),
    "instruction": (["instruction", "output"], ["input", "system"]),
    "chat": (["messages"], ["tools", "system"]),
}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SPEAKERS = {  # ShareGPT's names
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


@dataclasses.dataclass
class Document:
    text: str

    def texts(self):
        return [self.text]


@dataclasses.dataclass
class Pair:
    """An instruction, with an input and a system text that may be empty, and its answer."""

    instruction: str
    answer: str
    input: str = ""
    system: str = ""

    def texts(self):
        return [self.instruction, self.input, self.system, self.answer]

    def messages(self):
        asked = "\n\n".join(part for part in (self.instruction, self.input) if part)
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + [{"role": "user", "content": asked}, {"role": "assistant", "content": self.answer}]


@dataclasses.dataclass
class Conversation:
    messages: list
    tools: object = None

    def parsed(self):
        """The same with objects for arguments and parameters that are the JSON text of one: OpenAI's format has them so,
        and most templates want objects. Itself where there is nothing to parse."""
        messages = [_parsed_message(message) for message in self.messages]
        tools = self.tools and [_parsed_function(tool) for tool in self.tools]
        return self if (messages, tools) == (self.messages, self.tools) else Conversation(messages, tools)

    def has_nulls(self):
        """Whether tools or calls have null: of JSON that Arrow wrote, it may stand for a key that was not there."""
        return _has_null(self.tools or []) or any(
            _has_null(message.get("tool_calls") or []) for message in self.messages
        )

    def texts(self):
        return [message["content"] or "" for message in self.messages]

    def pair(self, where):
        """As a template for one instruction needs it."""
        roles = [message["role"] for message in self.messages]
        system = self.messages[0]["content"] if roles[:1] == ["system"] else ""
        if roles[bool(system) :] != ["user", "assistant"]:
            raise Error(
                f"{where}: a conversation of {', '.join(roles)} does not fit a template for one instruction; "
                "use a tokenizer with a chat template, or give one with --prompt FILE"
            )
        asked, answer = self.messages[-2:]
        return Pair(asked["content"] or "", answer["content"] or "", system=system or "")


class Reader:
    """Makes samples of records. `fields` maps names understood here to the names in the files."""

    def __init__(self, form, fields=None, asking=False):
        self._form, self._names = form, fields or {}
        self._asking = asking  # questions need no answers

    def sample(self, record):
        """(sample, shape): files that mix shapes are refused by the caller."""
        value = record.value
        if isinstance(value, bytes):
            value = parse(value, record.where)
        if isinstance(value, str):
            if self._form != "text":
                raise Error(
                    f"{record.where}: plain text, but --format {self._form} needs records with "
                    f"{_listed(FIELDS[self._form][0])} from JSON, CSV or Parquet"
                )
            return Document(_clean(value, record.where)), "text"
        if not isinstance(value, dict):
            raise Error(
                f"{record.where}: a {type(value).__name__}, expected an object with {_listed(self._need(self._form))}"
            )
        return getattr(self, "_" + self._form)(value, record.where)

    def _name(self, field):
        return self._names.get(field, field)

    def _need(self, form):
        return [self._name(field) for field in FIELDS[form][0]]

    def _text_of(self, value, field, where, optional=False):
        name = self._name(field)
        found = value.get(name)
        if found is None and optional:
            return ""
        if name not in value:
            raise self._missing(value, where)
        if not isinstance(found, str):
            raise Error(f"{where}: {name} is {shown(found)}, expected a text")
        return _clean(found, f"{where}, {name}")

    def _missing(self, value, where):
        lacking = [name for name in self._need(self._form) if name not in value]
        other = [form for form in FIELDS if form != self._form and set(self._need(form)) <= set(value)]
        if "conversations" in value and self._form != "chat":
            other.append("chat")
        advice = f"it looks like --format {other[0]}" if other else "--field NAME=THEIRS maps other names"
        return Error(
            f"{where}: no {_listed(lacking)}; its fields are {_listed(map(str, value))}; --format "
            f"{self._form} needs {_listed(self._need(self._form))}: {advice}"
        )

    def _text(self, value, where):
        return Document(self._text_of(value, "text", where)), "text"

    def _completion(self, value, where):
        return Pair(
            self._text_of(value, "prompt", where),
            self._text_of(value, "completion", where, optional=self._asking),
            system=self._text_of(value, "system", where, optional=True),
        ), "prompt and completion"

    def _instruction(self, value, where):
        return Pair(
            self._text_of(value, "instruction", where),
            self._text_of(value, "output", where, optional=self._asking),
            self._text_of(value, "input", where, optional=True),
            self._text_of(value, "system", where, optional=True),
        ), "instruction"

    def _chat(self, value, where):
        name = self._name("messages")
        if name not in value and "messages" not in self._names and "conversations" in value:
            name = "conversations"
        if name not in value:
            raise self._missing(value, where)
        turns = _from_cell(value[name], f"{where}, {name}")
        if not isinstance(turns, list):
            raise Error(f"{where}: {name} is {shown(turns)}, expected a list of turns")
        turns = [_without_nulls(turn, f"{where}, {name}[{k}]") for k, turn in enumerate(turns)]
        messages = [_message(turn, f"{where}, {name}[{k}]") for k, turn in enumerate(turns)]
        styles = ["role and content" if "role" in turn else "from and value" for turn in turns]
        for k, style in enumerate(styles):
            if style != styles[0]:
                raise Error(f"{where}, {name}[{k}]: {style}, but turns before it have {styles[0]}")
        system = self._text_of(value, "system", where, optional=True)
        if system and messages and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system})
        tools = _from_cell(value.get(self._name("tools")) or None, f"{where}, tools")
        if tools is not None and not isinstance(tools, list):
            raise Error(f"{where}: tools is {shown(tools)}, expected a list of functions")
        tools = tools and [_from_cell(tool, f"{where}, tools") for tool in tools]
        if not turns:
            raise Error(f"{where}: {name} is empty, expected turns")
        return Conversation(messages, tools), f"{name} with {styles[0]}"


def parse(line, where):
    """A line's JSON."""
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise Error(
            f"{where}: not UTF-8 (byte {problem.start} of the line is 0x{line[problem.start]:02x}); convert "
            "the file, as with iconv -t UTF-8"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise Error(f"{where}: not JSON: {problem}; expected one object a line, or a JSON array of objects") from None


def _from_cell(value, where):
    """CSV keeps lists as JSON in a cell."""
    if not isinstance(value, str):
        return value
    return parse(value.encode("utf-8", "surrogatepass"), where)


def _clean(text, where):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Error(f"{where}: half of a surrogate pair (\\ud8…), which is no character; mend the text") from None
    return text


def _without_nulls(turn, where):
    """A key of a turn whose value is null counts as absent: Arrow gives all turns the keys of each."""
    if not isinstance(turn, dict):
        raise Error(f"{where}: {shown(turn)}, expected an object with role and content, or from and value")
    return {key: value for key, value in turn.items() if value is not None}


def _has_null(value):
    if isinstance(value, (dict, list)):
        return any(map(_has_null, value.values() if isinstance(value, dict) else value))
    return value is None


def _parsed_message(message):
    parsed = {key: _parsed_function(value) for key, value in message.items() if key == "function_call"}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parsed["tool_calls"] = [_parsed_function(call) for call in calls]
    return {**message, **parsed}


def _parsed_function(value):
    """Of a call its arguments, of a tool its parameters; either may stand inside its `function`."""
    if not isinstance(value, dict):
        return value
    parsed = {**value, "function": _parsed_function(value["function"])} if "function" in value else {**value}
    for key in {"arguments", "parameters"} & set(value):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            found = json.loads(value[key])
            parsed[key] = found if isinstance(found, dict) else value[key]
    return parsed


def _message(turn, where):
    if "role" in turn:
        return _openai_message(turn, where)
    if "from" not in turn or "value" not in turn:
        raise Error(f"{where}: its fields are {_listed(map(str, turn))}, expected role and content, or from and value")
    speaker, text = turn["from"], turn["value"]
    if not isinstance(speaker, str) or speaker not in _SPEAKERS:
        raise Error(f"{where}: from is {shown(speaker)}, expected one of {', '.join(_SPEAKERS)}")
    if not isinstance(text, str):
        raise Error(f"{where}: value is {shown(text)}, expected a text")
    return {"role": _SPEAKERS[speaker], "content": _clean(text, where)}


def _openai_message(turn, where):
    message = dict(turn)
    if message["role"] not in _ROLES:
        raise Error(f"{where}: role is {shown(message['role'])}, expected one of {', '.join(_ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, where) for part in content)
    if "tool_calls" in message:
        message["tool_calls"] = _from_cell(message["tool_calls"], f"{where}, tool_calls")
    if content is None and not message.get("tool_calls") and not message.get("function_call"):
        raise Error(f"{where}: no content; its fields are {_listed(map(str, turn))}")
    if content is not None and not isinstance(content, str):
        raise Error(f"{where}: content is {shown(content)}, expected a text")
    message["content"] = None if content is None else _clean(content, where)
    return message


def _part(part, where):
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, dict) else part
    raise Error(f"{where}: a part of type {shown(kind)}, expected text only")


def _listed(names):
    names = list(names)
    return ", ".join(names) if names else "none"
