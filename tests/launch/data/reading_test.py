"""Bad input: one line that says what, where and what to do, the status of cli.md, and nothing left behind."""

import json
import os
import unittest

import tiny
from tiny import CHATML, Case

GO = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]


@tiny.needs_packages
class BadInput(Case):
    def setUp(self):
        super().setUp()
        self.words = self.tokenizer(template=CHATML)

    def refuse(self, name, content, form, pattern, *more, status=65):
        self.refused(status, pattern, self.words, self.file(name, content), form, *more)

    def test_files_with_nothing_in_them(self):
        self.refuse("a.jsonl", "", "completion", r"a\.jsonl: the file is empty")
        self.refuse("a.jsonl", "\n \n", "completion", r"a\.jsonl: no record was found")
        self.refuse("a.json", "[]", "completion", r"a\.json: no record was found")
        self.refuse("a.csv", "prompt,completion\n", "completion", r"a\.csv: no record was found")
        self.refuse("a.txt", "", "text", "the file is empty")
        self.refuse("a.txt", " \n", "text", "nothing is left to learn from")

    def test_missing_files_and_folders(self):
        self.refused(65, "nothing.jsonl: no such file", self.words, self.folder / "nothing.jsonl", "completion")
        self.refused(65, "tokenizer: is a folder", self.words, self.words, "completion")
        self.refused(65, "no tokenizer.json", self.folder, self.file("a.txt", "x"), "text")

    def test_wrong_fields_name_those_that_were_found(self):
        self.refuse(
            "a.jsonl",
            [{"question": "a", "answer": "b"}],
            "completion",
            r"line 1: no prompt, completion; its fields are question, answer; .* --field NAME=THEIRS",
        )
        self.refuse(
            "a.jsonl", [{"messages": GO}], "instruction", "its fields are messages; .* it looks like --format chat"
        )
        self.refuse("a.jsonl", [{"conversations": []}], "text", "it looks like --format chat")
        self.refuse(
            "a.csv", "a,b\n1,2\n", "completion", r"record 1 \(line 2\): no prompt, completion; its fields are a, b"
        )
        self.refuse("a.jsonl", [{"prompt": "a", "completion": 3}], "completion", "completion is 3, expected a text")
        self.refuse("a.jsonl", "3\n[1]\n", "completion", "line 1: a int, expected an object with prompt, completion")
        self.refuse("a.txt", "hello", "chat", "plain text, but --format chat needs records with messages")

    def test_wrong_turns(self):
        def chat(turns, pattern):
            self.refuse("a.jsonl", [{"messages": turns}], "chat", pattern)

        chat("hi", r"line 1, messages: not JSON")
        chat(5, r"messages is 5, expected a list of turns")
        chat(["hi"], r"messages\[0\]: 'hi', expected an object with role and content")
        chat([{"text": "a"}], r"messages\[0\]: its fields are text, expected role and content, or from and value")
        chat([{"role": "boss", "content": "a"}], r"messages\[0\]: role is 'boss', expected one of system, ")
        chat([{"from": "boss", "value": "a"}], r"messages\[0\]: from is 'boss', expected one of human, ")
        chat([{"from": ["x"], "value": "a"}], r"messages\[0\]: from is \['x'\], expected one of human, ")
        chat([{"role": "user", "content": [{"type": "image"}]}], r"a part of type 'image', expected text only")
        chat([{"role": "user"}], r"messages\[0\]: no content; its fields are role")

    def test_mixed_formats_are_found_at_the_record(self):
        both = [{"messages": GO}] * 300 + [{"conversations": [{"from": "human", "value": "a"}]}]
        self.refuse(
            "a.jsonl", both, "chat", r"line 301: conversations with from and value, but .*line 1 has messages with role"
        )
        self.refuse(
            "a.jsonl",
            [{"prompt": "a", "completion": "b"}, {"messages": GO}],
            "completion",
            "line 2: no prompt, completion; its fields are messages; .*--format chat",
        )
        turns = [{"role": "user", "content": "a"}, {"from": "gpt", "value": "b"}]
        self.refuse(
            "a.jsonl", [{"messages": turns}], "chat", r"messages\[1\]: from and value, but turns before it have role"
        )

    def test_no_json(self):
        self.refuse("a.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt"\n', "completion", "line 2: not JSON")
        self.refuse("a.json", '[{"prompt": "a", "completion": "b"}, {"prompt"]', "completion", "record 2: not JSON")
        self.refuse("a.json", '[{"prompt": "a", "completion": "b"}', "completion", "record 2: not JSON")
        self.refuse(
            "a.json", '{\n  "prompt": "a"\n}', "completion", "line 1: not JSON.*one object a line, or a JSON array"
        )
        self.refuse("a.jsonl", "[" * 100000, "completion", "record 1: not JSON")
        self.refuse("a.jsonl", '{"prompt": ' + "[" * 100000, "completion", "line 1: not JSON")
        self.refuse("a.json", '[{"prompt": "a", "completion": "b"} {}]', "completion", "record 2: not JSON: Expecting ','")
        self.refuse("a.json", '[{"prompt": "a", "completion": "b"}] []', "completion", "record 2: not JSON: Extra data")

    def test_invalid_utf8(self):
        self.refuse(
            "a.jsonl", b'{"prompt": "a", "completion": "\xff"}\n', "completion", r"line 1: not UTF-8 .*0xff.*iconv"
        )
        self.refuse("a.json", b'[{"prompt": "a", "completion": "\xff"}]', "completion", "record 1 or soon after: not UTF-8")
        self.refuse("a.csv", b"prompt,completion\na,\xff\n", "completion", "not UTF-8")
        self.refuse("a.txt", b"abc\xff", "text", r"a\.txt: not UTF-8")
        self.refuse("a.txt", "abc€".encode()[:-1], "text", r"a\.txt: not UTF-8")
        self.refuse("a.jsonl", '{"text": "\\ud800"}\n', "text", "line 1, text: half of a surrogate pair")
        self.refuse("a.jsonl", "{}".encode("utf-16"), "text", "line 1: not UTF-8")

    def test_records_above_the_limit(self):
        big = "x" * 400000
        limit = ("--max-record-bytes", "1000")
        self.refuse(
            "a.jsonl",
            [{"text": "a"}, {"text": big}],
            "text",
            "line 2: longer than 1000 bytes; raise --max-record-bytes",
            *limit,
        )
        self.refuse(
            "a.json", json.dumps([{"text": "a"}, {"text": big}]), "text", "record [12]: longer than 1000 bytes", *limit
        )
        self.refuse("a.csv", f"text\n{big}\n", "text", r"not CSV: .*\(--max-record-bytes\)", *limit)
        self.refuse("a.txt", big, "text", "longer than 1000 bytes; .*--separator", *limit)

    def test_csv_rows_of_another_length_and_open_quotes(self):
        self.refuse("a.csv", "text,b\na\n", "text", r"record 1 \(line 2\): 1 fields, expected 2")
        self.refuse("a.csv", 'text\n"a\n', "text", "not CSV")

    def test_an_id_that_the_model_lacks(self):
        (self.words / "config.json").write_text('{"vocab_size": 260}', "utf-8")
        self.refuse(
            "a.jsonl",
            [{"prompt": "a", "completion": " ok"}],
            "completion",
            r"line 1: token '</s>' has id 263, outside the model's vocabulary of 260",
        )
        model = self.folder / "model"
        model.mkdir()
        (model / "config.json").write_text('{"vocab_size": 264}', "utf-8")
        self.prepared(
            self.words, self.file("a.jsonl", [{"prompt": "a", "completion": " ok"}]), "completion", "--model", model
        )

    def test_a_byte_order_mark_is_no_content(self):
        mark = b"\xef\xbb\xbf"
        for name, content in (
            ("a.jsonl", b'{"text": "a"}'),
            ("a.json", b'[{"text": "a"}]'),
            ("a.csv", b"text\na\n"),
            ("a.txt", b"a"),
        ):
            self.prepared(self.words, self.file(name, mark + content), "text")
            self.assertEqual(self.marked(self.words), ["<s>[a</s>]"], name)

    def test_mistakes_on_the_command_line(self):
        def mistake(pattern, *more, form="completion", status=64):
            self.refuse("a.jsonl", [{"prompt": "a", "completion": "b"}], form, pattern, *more, status=status)

        mistake("--sequence-length is 1, expected 2 or more", "--sequence-length", "1")
        mistake("--eval-fraction is 1.0", "--eval-fraction", "1")
        mistake("--eval-fraction is nan", "--eval-fraction", "nan")
        mistake("--prompt poem: neither a file nor one of chat, alpaca", "--prompt", "poem")
        mistake("--field x: expected NAME=VALUE", "--field", "x")
        mistake("--field x: --format completion has the fields prompt, completion", "--field", "x=y")
        mistake("--overlong split is for --format text", "--overlong", "split")
        mistake("--train-on last: text has no prompt", "--train-on", "last", form="text")
        mistake("--prompt alpaca: text has no prompt", "--prompt", "alpaca", form="text")
        mistake("--eval-output needs --eval-fraction", "--eval-output", self.folder / "e.safetensors")
        mistake("--template-option is for chat templates", "--template-option", "a=b")
        mistake("--separator parts documents", "--separator", "x")
        mistake("the outputs and inputs must be different files", "--output", self.folder / "a.jsonl")
        mistake("unrecognized arguments: --trane-on", "--trane-on", "last")

    def test_an_output_that_cannot_be_written(self):
        path = self.file("a.txt", "x")
        self.refused(73, "cannot write here", self.words, path, "text", "--output", self.folder / "no/such/out")
        self.refused(73, "is a folder", self.words, path, "text", "--output", self.words)

    def test_a_full_disk_leaves_nothing_behind(self):
        full = "/dev/full"
        if not os.path.exists(full):
            self.skipTest("no /dev/full")
        from shardora.data import spool

        def fail(*_):
            with open(full, "wb", buffering=0) as file:
                file.write(b"x")

        original, spool.os.fsync = spool.os.fsync, fail
        self.addCleanup(setattr, spool.os, "fsync", original)
        self.refused(74, "No space left on device", self.words, self.file("a.txt", "x"), "text")


if __name__ == "__main__":
    unittest.main()
