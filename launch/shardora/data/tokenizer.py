"""The tokenizer of a Hugging Face folder: the ids that transformers gives, and where in the text each token ends."""

import hashlib
import json
import os
import re

from shardora.errors import Error, one_line


class Encoder:
    def __init__(self, folder, model=None):
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.isfile(path):
            raise Error(f"{folder}: no tokenizer.json, expected the folder of a Hugging Face model or tokenizer")
        with open(path, "rb") as file:
            self.sha256 = hashlib.sha256(file.read()).hexdigest()
        self.tokenizer = _load(folder)  # transformers' own
        self._backend = _with_whole_offsets(self.tokenizer.backend_tokenizer.to_str())
        self.end = self.tokenizer.eos_token_id
        self._begin_text = self.tokenizer.bos_token
        added = self._backend.get_added_tokens_decoder()
        self.special = {id for id, token in added.items() if token.special} | {self.end}
        self.unknown = _unknown(self._backend)
        self._appended = appended(self._backend)
        marks = [token.content for token in added.values() if token.special and token.content]
        self._special_text = re.compile("|".join(map(re.escape, marks)) or r"(?!)")
        config = _config(model or folder, needed=model is not None)
        self.vocabulary = config.get("vocab_size")
        self.longest = config.get("max_position_embeddings")

    def has_special_text(self, text):
        """Whether the text of a special token is in it, which is read as that token wherever it comes from."""
        return self._special_text.search(text) is not None

    def ids(self, text, add_special):
        return self._encoded(text, add_special).ids

    def encode(self, text, add_special):
        """(ids, places): each token's characters in the text, as (begin, end). Tokens that the tokenizer adds by itself
        have (0, 0)."""
        encoded = self._encoded(text, add_special)
        return encoded.ids, encoded.offsets

    def encode_prompt(self, text):
        """(ids, places) of a text that goes on: with what the tokenizer adds before it, without what it adds behind."""
        encoded = self._encoded(text, add_special=True)
        end = len(encoded.ids) - (self._appended if any(encoded.special_tokens_mask) else 0)
        return encoded.ids[:end], encoded.offsets[:end]

    def _encoded(self, text, add_special):
        # A template that writes the beginning token itself must not get a second one.
        written = self._begin_text and text.startswith(self._begin_text)
        return self._backend.encode(text, add_special_tokens=add_special and not written)

    def end_token(self):
        if self.end is None:
            raise Error(
                "the tokenizer has no end-of-sequence token, which an answer must end with; name one as "
                "eos_token in tokenizer_config.json"
            )
        return self.end

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def check(self, ids, where):
        """The model must have a row for every id."""
        if self.vocabulary is not None and ids and max(ids) >= self.vocabulary:
            wrong = max(ids)
            raise Error(
                f"{where}: token {self.tokenizer.convert_ids_to_tokens(wrong)!r} has id {wrong}, outside the "
                f"model's vocabulary of {self.vocabulary}; is this the model's own tokenizer?"
            )


def appended(backend):
    """How many tokens a tokenizer adds to the end of every text."""
    mask = backend.encode("a").special_tokens_mask
    return mask[::-1].index(0) if 0 in mask else 0


def _load(folder):
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # no advice about packages that nothing here needs
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # whatever the parts of transformers raise at a broken folder
        raise Error(f"{folder}: transformers cannot read this tokenizer: {one_line(problem)}") from None
    if not tokenizer.is_fast:
        raise Error(f"{folder}: transformers reads this without the tokenizers library, expected a tokenizer.json")
    return tokenizer


def _with_whole_offsets(text):
    """The same tokenizer, its offsets with all white space: by default some leave out blanks at a token's ends."""
    import tokenizers

    def untrim(node):
        if isinstance(node, dict):
            return {key: False if key == "trim_offsets" else untrim(value) for key, value in node.items()}
        return [untrim(value) for value in node] if isinstance(node, list) else node

    parts = json.loads(text)
    for name in ("pre_tokenizer", "post_processor"):
        parts[name] = untrim(parts.get(name))
    backend = tokenizers.Tokenizer.from_str(json.dumps(parts))
    backend.no_truncation()
    backend.no_padding()
    return backend


def _unknown(backend):
    """The id that stands for what the vocabulary lacks. Of the model itself: what a tokenizer's settings call unknown is
    often another token that never comes of text."""
    name = json.loads(backend.to_str())["model"].get("unk_token")
    return backend.token_to_id(name) if name else None


def _config(folder, needed):
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        if needed:
            raise Error(f"{folder}: no config.json, expected a Hugging Face model folder")
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as problem:
        raise Error(f"{path}: not JSON: {one_line(problem)}") from None
    return config.get("text_config", config) if isinstance(config, dict) else {}
