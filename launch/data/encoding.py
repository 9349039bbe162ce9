"""The tokenizer of a Hugging Face folder: the ids that transformers gives, and where in the text each token ends."""

import hashlib
import json
import os

from refusal import Refusal, one_line


class Encoder:
    def __init__(self, folder, model=None):
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.isfile(path):
            raise Refusal(f"{folder}: no tokenizer.json, expected the folder of a Hugging Face model or tokenizer")
        with open(path, "rb") as file:
            self.sha256 = hashlib.sha256(file.read()).hexdigest()
        self.tokenizer = _load(folder)  # transformers' own
        self._backend = _with_whole_offsets(self.tokenizer.backend_tokenizer.to_str())
        self.end = self.tokenizer.eos_token_id
        self._begin_text = self.tokenizer.bos_token
        added = self._backend.get_added_tokens_decoder()
        self.special = {id for id, token in added.items() if token.special} | {self.end}
        self.unknown = self.tokenizer.unk_token_id
        config = _config(model or folder, needed=model is not None)
        self.vocabulary = config.get("vocab_size")
        self.longest = config.get("max_position_embeddings")

    def ids(self, text, add_special):
        return self._encoded(text, add_special).ids

    def encode(self, text, add_special):
        """(ids, ends): ends[k] is the position in the text after token k's last character. Tokens that the tokenizer
        adds by itself come with 0."""
        encoded = self._encoded(text, add_special)
        return encoded.ids, [end for _, end in encoded.offsets]

    def _encoded(self, text, add_special):
        # A template that writes the beginning token itself must not get a second one.
        written = self._begin_text and text.startswith(self._begin_text)
        return self._backend.encode(text, add_special_tokens=add_special and not written)

    def end_token(self):
        if self.end is None:
            raise Refusal(
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
            raise Refusal(
                f"{where}: token {self.tokenizer.convert_ids_to_tokens(wrong)!r} has id {wrong}, outside the "
                f"model's vocabulary of {self.vocabulary}; is this the model's own tokenizer?"
            )


def _load(folder):
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # no advice about packages that nothing here needs
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # whatever the parts of transformers raise at a broken folder
        raise Refusal(f"{folder}: transformers cannot read this tokenizer: {one_line(problem)}") from None
    if not tokenizer.is_fast:
        raise Refusal(f"{folder}: transformers reads this without the tokenizers library, expected a tokenizer.json")
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


def _config(folder, needed):
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        if needed:
            raise Refusal(f"{folder}: no config.json, expected a Hugging Face model folder")
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as problem:
        raise Refusal(f"{path}: not JSON: {one_line(problem)}") from None
    return config.get("text_config", config) if isinstance(config, dict) else {}
