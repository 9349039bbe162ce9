"""Files and tokenizers as other tools make them: what Arrow, OpenAI's format and compression leave in records, named chat
templates, and tokenizers that add a token to every text's end. Each is compared with the same data written plainly."""

import bz2
import copy
import gzip
import importlib.util
import json
import lzma
import sys
import unittest

import tiny
from tiny import CHATML, Case

needs_pyarrow = unittest.skipIf(importlib.util.find_spec("pyarrow") is None, "pyarrow is not installed")

CALLS = "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments | tojson }}</call>{% endfor %}"
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    + CALLS
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BY_ITEMS = WITH_TOOLS.replace(
    "{{ c.function.arguments | tojson }}", "{% for k, v in c.function.arguments | items %}<{{ k }}>{{ v }}{% endfor %}"
)
AS_TEXT = WITH_TOOLS.replace("c.function.arguments | tojson", "'(' + c.function.arguments + ')'")
# Says when a message has a key, whatever its value.
BY_KEYS = CHATML.replace("{{ m.content }}", "{% if m.name is defined %}({{ m.name }}){% endif %}{{ m.content }}")


def tool(name, parameter):
    parameters = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def chat(name, arguments, wrap=lambda call: call):
    call = {"type": "function", "function": wrap({"name": name, "arguments": arguments})}
    return [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "ok", "name": name},
        {"role": "assistant", "content": "no"},
    ]


class Records(Case):
    def content_of(self, path, template, form="chat", *more):
        """Every sequence as text with its targets."""
        tokenizer = self.tokenizer(template=template, begin=False)
        self.result = self.prepared(tokenizer, path, form, *more)
        return self.marked(tokenizer)

    def parquet(self, records):
        import pyarrow
        import pyarrow.parquet

        path, keys = self.folder / "a.parquet", {key: None for record in records for key in record}
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**keys, **record} for record in records]), path)
        return path

    def same(self, template, found, plain, form="chat", *more):
        wanted = self.content_of(self.file("plain.jsonl", plain), template, form, *more)
        self.assertEqual(self.content_of(found, template, form, *more), wanted)
        return wanted


@tiny.needs_packages
@needs_pyarrow
class Arrow(Records):
    """Arrow gives every struct of a column the keys of all of them; those that a record lacked are null."""

    def test_a_weight_that_another_turn_has(self):
        two = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]
        rows = [{"messages": two}, {"messages": [two[0], {**two[1], "weight": 0}, two[0], {**two[1], "weight": 1}]}]
        wanted = self.same(CHATML, self.parquet(rows), rows)
        self.assertEqual(wanted[0], "<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\n[ok<|im_end|>]\n")
        self.assertEqual(wanted[1].count("["), 1)

    def test_parameters_and_arguments_of_another_tool(self):
        tools = tool("sky", "city"), tool("news", "topic")
        rows = [{"tools": list(tools), "messages": chat("sky", {"city": "Oslo"})}]
        rows.append({"tools": [tools[1]], "messages": chat("news", {"topic": "x"})})
        wanted = self.same(WITH_TOOLS, self.parquet(rows), rows)
        self.assertNotIn("null", "".join(wanted))

    def test_a_name_that_another_turn_has(self):
        rows = [{"messages": chat("sky", {"city": "Oslo"})}]
        self.same(BY_KEYS, self.parquet(rows), rows)

    def test_keys_of_the_other_style_of_turns(self):
        rows = [
            {"messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]},
            {"conversations": [{"from": "human", "value": "Go"}, {"from": "gpt", "value": "no"}], "system": "Be"},
        ]
        for row in rows:
            wide = {**dict.fromkeys(("messages", "conversations", "system")), **row}
            self.same(CHATML, self.parquet([wide]), [row])

    def test_columns_of_other_records(self):
        rows = [{"instruction": "Go", "output": "ok", "input": "in"}, {"instruction": "On", "output": "no", "system": "s"}]
        self.same(CHATML, self.parquet(rows), rows, "instruction")


@tiny.needs_packages
class Json(Records):
    def test_null_in_a_turn_counts_as_an_absent_key(self):
        rows = [{"messages": chat("sky", {"city": "Oslo"}), "tools": [tool("sky", "city")]}]
        wide = copy.deepcopy(rows)
        nulls = dict.fromkeys(("weight", "name", "tool_calls", "from", "value"))
        wide[0]["messages"] = [{**nulls, **turn} for turn in wide[0]["messages"]]
        self.same(WITH_TOOLS, self.file("a.jsonl", wide), rows)

    def test_null_in_a_call_is_kept_and_said(self):
        rows = [{"messages": chat("sky", {"city": "Oslo", "day": None})}]
        found = self.content_of(self.file("a.jsonl", rows), WITH_TOOLS)
        self.assertIn('"day": null', found[0])
        self.assertEqual(self.result["nulls"], 1)

    def test_arguments_as_json_text(self):
        plain = [{"messages": chat("sky", {"city": "Oslo"}), "tools": [tool("sky", "city")]}]
        as_text = [{**plain[0], "messages": chat("sky", '{"city":"Oslo"}')}]
        for template in (WITH_TOOLS, BY_ITEMS):
            self.assertIn("Oslo", self.same(template, self.file("a.jsonl", as_text), plain)[0])

    def test_calls_and_tools_as_json_text(self):
        plain = [{"messages": chat("sky", {"city": "Oslo"}), "tools": [tool("sky", "city")]}]
        as_text = copy.deepcopy(plain)
        turn = as_text[0]["messages"][1]
        turn["tool_calls"] = json.dumps(turn["tool_calls"])
        for tools in (json.dumps(plain[0]["tools"]), [json.dumps(one) for one in plain[0]["tools"]]):
            as_text[0]["tools"] = tools
            self.same(WITH_TOOLS, self.file("a.jsonl", as_text), plain)

    def test_a_template_that_joins_the_arguments_to_text_gets_the_text(self):
        rows = [{"messages": chat("sky", '{"city":"Oslo"}')}]
        self.assertIn('({"city":"Oslo"})', self.content_of(self.file("a.jsonl", rows), AS_TEXT)[0])

    def test_arguments_that_are_no_object_stay_text(self):
        rows = [{"messages": chat("sky", "Oslo")}]
        self.assertIn('sky"Oslo"', self.content_of(self.file("a.jsonl", rows), WITH_TOOLS)[0])


@tiny.needs_packages
class Files(Records):
    PAIRS = [{"prompt": "Say the", "completion": " ok"}, {"prompt": "Go", "completion": " the"}]

    def test_compressed_files_under_their_own_name_and_another(self):
        lines = "".join(json.dumps(pair) + "\n" for pair in self.PAIRS).encode()
        table = b"prompt,completion\nSay the, ok\nGo, the\n"
        for end, compress in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
            for name, content in (
                (f"a.jsonl.{end}", lines),
                ("renamed.jsonl", lines),
                (f"a.json.{end}", json.dumps(self.PAIRS).encode()),
                (f"a.csv.{end}", table),
            ):
                self.same(CHATML, self.file(name, compress(content)), self.PAIRS, "completion")
            self.content_of(self.file(f"a.txt.{end}", compress(b"Say the ok")), CHATML, "text")

    def test_damaged_and_unknown_compression_is_refused_with_the_cure(self):
        tokenizer, whole = self.tokenizer(), gzip.compress(b'{"prompt": "a", "completion": "b"}\n' * 100)
        for content in (whole[:-9], whole[:40] + b"xxxx" + whole[44:]):
            self.refused(65, r"a\.gz.*: not whole gzip", tokenizer, self.file("a.gz", content), "completion")
        for start, name in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\3\4", "zip"), (b"\x04\x22\x4d\x18", "lz4")):
            path = self.file("a.jsonl", start + b"content")
            self.refused(65, rf"a\.jsonl: compressed with {name}.* unpack it", tokenizer, path, "completion")

    def test_an_array_called_json_lines_and_lines_called_json(self):
        lines = "".join(json.dumps(pair) + "\n" for pair in self.PAIRS)
        for name, content in (
            ("a.jsonl", json.dumps(self.PAIRS)),
            ("a.ndjson", " \n" + json.dumps(self.PAIRS, indent=1)),
            ("a.json", lines),
        ):
            self.same(CHATML, self.file(name, content), self.PAIRS, "completion")

    def test_an_array_of_something_else_is_refused(self):
        path = self.file("a.jsonl", "[1, 2]\n")
        self.refused(65, "record 1: a int, expected an object", self.tokenizer(), path, "completion")


@tiny.needs_packages
class NamedTemplates(Records):
    PLAIN = CHATML.replace("<|im_start|>", "<|im_start|>plain ")
    TOOLS = [{"messages": chat("sky", {"city": "Oslo"}), "tools": [tool("sky", "city")]}]
    TALK = [{"messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]}]
    BOTH = {"default": PLAIN, "tool_use": WITH_TOOLS}

    def test_a_conversation_with_tools_takes_tool_use_and_another_the_default(self):
        path = self.file("a.jsonl", self.TOOLS + self.TALK)
        found = self.content_of(path, self.BOTH)
        tools = self.content_of(self.file("tools.jsonl", self.TOOLS), WITH_TOOLS)
        talk = self.content_of(self.file("talk.jsonl", self.TALK), self.PLAIN)
        self.assertEqual(found, tools + talk)
        self.assertIn("[<call>sky", tools[0])

    def test_tool_use_is_taken_where_there_is_no_default(self):
        path = self.file("a.jsonl", self.TOOLS)
        self.assertEqual(self.content_of(path, {"tool_use": WITH_TOOLS, "rag": CHATML}), self.content_of(path, WITH_TOOLS))

    def test_the_names_are_told_where_none_fits(self):
        tokenizer, path = self.tokenizer(template={"tool_use": WITH_TOOLS, "rag": CHATML}), self.file("a.jsonl", self.TALK)
        self.refused(65, r"line 1: .*rag, tool_use.* --prompt FILE", tokenizer, path, "chat")

    def test_questions_are_asked_as_in_training(self):
        from shardora.data import text

        for templates in (self.BOTH, {"tool_use": WITH_TOOLS}):
            tokenizer = self.tokenizer(template=templates, begin=False)
            records = self.TOOLS + self.TALK * ("default" in templates)
            path = self.file("a.jsonl", records)
            self.prepared(tokenizer, path, "chat")
            wanted = [one.rpartition("[")[0] for one in self.marked(tokenizer)]
            wanted = [one.replace("[", "").replace("]", "") for one in wanted]
            asked = self.folder / "asked.safetensors"
            for how in (("--like", self.output), ("--format", "chat")):
                words = ("encode", "--tokenizer", tokenizer, "--output", asked, "--input", path, *how)
                status, output, errors = tiny.run_script(text, "shardora-text", words)
                self.assertEqual((status, errors), (0, ""))
                self.assertEqual([one.replace("[", "").replace("]", "") for one in self.marked(tokenizer, asked)], wanted)
                self.assertTrue(json.loads(output)["stop_tokens"])


@tiny.needs_packages
class AddedEnd(Records):
    """A tokenizer that ends every text must not end a question, whatever the token is."""

    PAIRS = [{"prompt": "Say the", "completion": " ok"}, {"prompt": "Go", "completion": " the"}]

    def test_a_question_has_no_end_token(self):
        from shardora.data import text

        for begin in (False, True):
            for end in ("</s>", "<|im_end|>"):
                tokenizer = self.tokenizer(begin=begin, end=end)
                self.prepared(tokenizer, self.file("a.jsonl", self.PAIRS), "completion")
                asked = self.folder / "asked.safetensors"
                for question, wanted in (("Say the", "Say the"), ("Go</s>", "Go</s>")):
                    words = ("encode", "--tokenizer", tokenizer, "--like", self.output, "--output", asked, question)
                    self.assertEqual(tiny.run_script(text, "shardora-text", words)[0], 0)
                    self.assertEqual(self.marked(tokenizer, asked), ["<s>" * begin + wanted])
                self.assertTrue(self.marked(tokenizer)[0].startswith("<s>" * begin + "Say the["))

    def test_commonsense_asks_without_it_and_scores_without_it(self):
        from shardora import commonsense
        from shardora.data.samples import Pair

        question = commonsense.Question("here", "What?", "true", ["true", "false"])
        options = {"shardora": sys.executable, "ranks": 1, "adapter": None, "tokenizer": None}
        found = []
        for end in (None, "</s>", "<|im_end|>"):
            model = self.tokenizer(begin=False, end=end, config={"vocab_size": 300})
            evaluator = commonsense.Evaluator(type("Options", (), {**options, "model": str(model)}), [])
            prompt = evaluator._prompt.ask(Pair("What?", ""), evaluator.encoder, "here")
            found.append((prompt, evaluator._option(question, "true")))
        self.assertEqual(found[1], found[0])
        self.assertEqual(found[2], found[0])

    def test_the_quickstart_takes_it_from_prompts(self):
        from shardora.quickstart import split

        found = []
        for end in (None, "</s>", "<|im_end|>"):
            model = self.tokenizer(begin=False, end=end, config={"eos_token_id": 260})
            found.append(split.from_json_lines(self.file("a.jsonl", self.PAIRS), str(model)))
        self.assertEqual(found[1], found[0])
        self.assertEqual(found[2], found[0])


if __name__ == "__main__":
    unittest.main()
