"""What the tests of launch/data share: a small tokenizer made here, the script run in this process, and its result.

The tokenizer is byte-level: every byte is a token, and a few merges make tokens of two and more, among them " the" and
two line breaks, which can lie across the place where prompt and answer meet."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[3]

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # no advice about PyTorch
SHARED = pathlib.Path(os.environ.get("SHARDORA_TEST_DATA", ROOT / "../shared/data"))
MINIMIND = SHARED / "tokenizers" / "minimind"
PROGRAM = pathlib.Path(os.environ.get("SHARDORA_PROGRAM", ROOT / "build/release/shardora"))
STORIES = SHARED / "models" / "stories260K"
NEEDED = ("numpy", "tokenizers", "transformers", "jinja2", "tqdm")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
COMMANDS = pathlib.Path(sys.executable).parent  # where the package is installed, so are its console commands
needs_packages = unittest.skipIf(MISSING, f"Python packages are missing (launch/install.sh data): {', '.join(MISSING)}")
needs_minimind = unittest.skipIf(not MINIMIND.exists(), f"{MINIMIND} is not there (SHARDORA_TEST_DATA)")
needs_stories = unittest.skipIf(not STORIES.exists(), f"{STORIES} is not there (SHARDORA_TEST_DATA)")

MERGES = [("h", "e"), ("Ġ", "t"), ("Ġt", "he"), ("Ċ", "Ċ"), ("o", "k"), ("Ġ", "ok")]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_folder(folder, template=None, begin=True, end=None, config=None):
    """Writes a tokenizer with <s>, </s> and the marks of chats; begin: it starts every text with <s>; end: the token that
    it adds to every text's end. `template`: one text, or the texts of named templates."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet()) + [left + right for left, right in MERGES]
    tokenizer = tokenizers.Tokenizer(models.BPE({symbol: k for k, symbol in enumerate(symbols)}, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    trimming = processors.ByteLevel(trim_offsets=True)  # as most byte-level tokenizers do
    added = ["<s>"] * begin + [end] * bool(end)
    single = " ".join(["<s>"] * begin + ["$A"] + [end] * bool(end))
    adds = processors.TemplateProcessing(single=single, special_tokens=[(one, tokenizer.token_to_id(one)) for one in added])
    tokenizer.post_processor = processors.Sequence([trimming, adds]) if added else trimming
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
    }
    if template is not None:
        named = template.items() if isinstance(template, dict) else []
        settings["chat_template"] = [{"name": name, "template": text} for name, text in named] or template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def run_script(module, name, arguments):
    """(status, output, errors) of a script's main, in this process."""
    from shardora.commands import run

    output, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = run(name, module.main, [str(argument) for argument in arguments])
        except SystemExit as stop:  # --help
            status = stop.code
    output.flush()
    return status, output.buffer.getvalue().decode("utf-8"), errors.getvalue()


class Case(unittest.TestCase):
    """A folder for every test, and shardora-prepare run on a file in it."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out.safetensors"

    def file(self, name, content):
        path = self.folder / name
        if isinstance(content, list):
            content = "".join(json.dumps(record) + "\n" for record in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def tokenizer(self, **how):
        return tokenizer_folder(self.folder / "tokenizer", **how)

    def prepare(self, tokenizer, path, form, *more):
        from shardora.data import prepare

        return run_script(
            prepare,
            "shardora-prepare",
            [
                "--tokenizer",
                tokenizer,
                "--input",
                path,
                "--format",
                form,
                "--output",
                self.output,
                "--processes",
                "1",
                *more,
            ],
        )

    def prepared(self, *arguments):
        """The result's object, of a run that must succeed."""
        status, output, errors = self.prepare(*arguments)
        self.assertEqual((status, errors), (0, ""))
        return json.loads(output.splitlines()[-1])

    def refused(self, status, pattern, *arguments):
        """A run that must end with one line, and leave nothing behind."""
        before = sorted(self.folder.iterdir())
        got, output, errors = self.prepare(*arguments)
        self.assertEqual(got, status, errors)
        self.assertRegex(errors, rf"^shardora-prepare: .*{pattern}")
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertEqual(output, "")
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def marked(self, tokenizer, path=None):
        """Every sequence as text, each run of targets in brackets; tokens that are part of a character as <XX>."""
        from tokenizers import Tokenizer

        from shardora import dataset_file

        vocabulary = Tokenizer.from_file(str(pathlib.Path(tokenizer) / "tokenizer.json"))
        return [self._marked(vocabulary, *sequence) for sequence in dataset_file.read(path or self.output)]

    @staticmethod
    def _marked(vocabulary, tokens, mask):
        text = ""
        for k, (token, on) in enumerate(zip(tokens, mask)):
            text += "[" if on and not mask[k - 1] else "]" if not on and k and mask[k - 1] else ""
            text += vocabulary.id_to_token(token).replace("Ġ", " ").replace("Ċ", "\n")
        return text + "]" * bool(mask[-1])
