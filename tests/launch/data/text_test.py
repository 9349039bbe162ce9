"""shardora-text: questions become the prompts that training used, and the program's result becomes text."""

import json
import os
import unittest

import tiny
from tiny import CHATML, Case

A = "<|im_start|>assistant\n"
TRAINED = [{"question": "Go", "answer": "ok"}]


@tiny.needs_packages
class Text(Case):
    def text(self, *arguments):
        from shardora.data import text

        return tiny.run_script(text, "shardora-text", arguments)

    def texts(self, *arguments):
        status, output, errors = self.text(*arguments)
        self.assertEqual((status, errors), (0, ""))
        return output

    def trained(self, tokenizer, *more):
        self.prepared(
            tokenizer,
            self.file("train.jsonl", TRAINED),
            "instruction",
            "--field",
            "instruction=question",
            "--field",
            "output=answer",
            *more,
        )
        return self.output

    def encoded(self, tokenizer, *arguments):
        path = self.folder / "prompts.safetensors"
        result = json.loads(self.texts("encode", "--tokenizer", tokenizer, "--output", path, *arguments))
        return self.marked(tokenizer, path), result

    def test_a_question_is_what_stood_before_the_answer_in_training(self):
        for template in (None, CHATML):
            tokenizer = self.tokenizer(template=template, begin=template is None)
            path = self.trained(tokenizer)
            asked, _ = self.encoded(tokenizer, "--like", path, "Go")
            self.assertEqual(asked[0], self.marked(tokenizer, path)[0].partition("[")[0])

    def test_questions_come_from_lines_and_from_records_with_the_fields_of_training(self):
        tokenizer = self.tokenizer(template=CHATML, begin=False)
        like = self.trained(tokenizer)
        lines, rows = (
            self.file("q.txt", "One\n\nTwo\r\n"),
            self.file("q.jsonl", [{"question": "Three", "answer": "secret"}, {"question": "Four"}]),
        )
        asked, result = self.encoded(tokenizer, "--like", like, "--input", lines, rows)
        self.assertEqual(
            asked, [f"<|im_start|>user\n{word}<|im_end|>\n{A}" for word in ("One", "Two", "Three", "Four")]
        )
        self.assertEqual(result["sequences"], 4)

    def test_chats_are_asked_up_to_their_last_answer(self):
        tokenizer = self.tokenizer(template=CHATML, begin=False)
        turns = [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "On"},
            {"role": "assistant", "content": "secret"},
        ]
        asked, _ = self.encoded(tokenizer, "--format", "chat", "--input", self.file("q.jsonl", [{"messages": turns}]))
        self.assertEqual(
            asked, [f"<|im_start|>user\nGo<|im_end|>\n{A}ok<|im_end|>\n<|im_start|>user\nOn<|im_end|>\n{A}"]
        )

    def test_the_template_of_training_counts_not_the_tokenizers(self):
        tokenizer = self.tokenizer(template=CHATML, begin=False)
        like = self.trained(tokenizer, "--prompt", self.file("mine.txt", "Q: {instruction}\nA:"))
        asked, result = self.encoded(tokenizer, "--like", like, "Go")
        self.assertEqual(asked, ["Q: Go\nA:"])
        self.assertEqual(len(result["stop_tokens"]), 1)

    def test_a_chat_stops_at_its_turns_end_and_at_the_tokenizers(self):
        from transformers import AutoTokenizer

        tokenizer = self.tokenizer(template=CHATML, begin=False)
        _, result = self.encoded(tokenizer, "Go")
        ids = AutoTokenizer.from_pretrained(tokenizer).convert_tokens_to_ids(["<|im_end|>", "</s>"])
        self.assertEqual(result["stop_tokens"], ids)

    def test_results_of_both_forms_are_decoded(self):
        tokenizer = self.tokenizer()
        from transformers import AutoTokenizer

        ids = AutoTokenizer.from_pretrained(tokenizer)("the ok")["input_ids"]
        for sequences in ([ids, ids[1:2]], [{"tokens": ids}, {"tokens": ids[1:2]}]):
            path = self.file("result.json", "a line before\n" + json.dumps({"sequences": sequences}) + "\n")
            self.assertEqual(self.texts("decode", "--tokenizer", tokenizer, path), "[1] the ok\n[2] t\n")
            self.assertEqual(
                self.texts("decode", "--tokenizer", tokenizer, "--json", path), '{"text": "the ok"}\n{"text": "t"}\n'
            )

    def test_generate_runs_the_program_with_prompts_stops_and_flags(self):
        tokenizer = self.tokenizer(config={"vocab_size": 300})
        program = self.folder / "program"
        program.write_text(
            '#!/bin/sh\necho "$@" >&2\n'
            'for a; do case $a in --generate.prompts=*) test -s "${a#*=}" || exit 9; esac; done\n'
            "echo '{\"sequences\":[[84,72]]}'\n",
            "utf-8",
        )
        program.chmod(0o755)
        import contextlib

        with open(self.folder / "errors", "w+b") as errors:
            saved = os.dup(2)
            os.dup2(errors.fileno(), 2)
            try:
                output = self.texts(
                    "generate",
                    "--model",
                    tokenizer,
                    "--shardora",
                    program,
                    "--adapter",
                    "mine",
                    "--prompt",
                    "none",
                    "Go",
                    "--",
                    "--generate.max_new_tokens=7",
                )
            finally:
                os.dup2(saved, 2)
                with contextlib.suppress(OSError):
                    os.close(saved)
            errors.seek(0)
            said = errors.read().decode()
        self.assertRegex(
            said,
            r"^generate --generate\.prompts=\S+ --generate\.stop_tokens=263 "
            rf"--model\.path={tokenizer} --adapter\.path=mine --generate\.max_new_tokens=7\n",
        )
        self.assertEqual(len(output), 3)  # two characters and a line break
        program.write_text("#!/bin/sh\nexit 71\n", "utf-8")
        self.assertEqual(self.text("generate", "--model", tokenizer, "--shardora", program, "Go")[:2], (71, ""))

    def test_mistakes(self):
        tokenizer = self.tokenizer()
        like = self.trained(tokenizer)

        def refused(status, pattern, *arguments):
            got, output, errors = self.text(*arguments)
            self.assertEqual((got, output), (status, ""), errors)
            self.assertRegex(errors, f"^shardora-text: .*{pattern}.*\n$")

        encode = ("encode", "--tokenizer", tokenizer, "--output", self.folder / "p.safetensors")
        refused(64, "no question", *encode)
        refused(64, "give one", *encode, "--like", like, "--prompt", "alpaca", "Go")
        refused(65, "not a dataset file", *encode, "--like", tokenizer / "tokenizer.json", "Go")
        refused(64, "what follows -- is for the program", *encode, "Go", "--", "--x")
        other = tiny.tokenizer_folder(self.folder / "other", begin=False)
        refused(
            65,
            "made with another tokenizer",
            "encode",
            "--tokenizer",
            other,
            "--output",
            self.folder / "p",
            "--like",
            like,
            "Go",
        )
        refused(65, "the result cannot be read", "decode", "--tokenizer", tokenizer, self.file("r.json", "no\n"))
        refused(
            65,
            "the result cannot be read",
            "decode",
            "--tokenizer",
            tokenizer,
            self.file("r.json", '{"sequences": [[-1]]}'),
        )
        refused(64, "no such program", "generate", "--model", tokenizer, "--shardora", "/no/shardora", "Go")

    @tiny.needs_stories
    @unittest.skipIf(not tiny.PROGRAM.exists(), f"{tiny.PROGRAM} is not built (SHARDORA_PROGRAM)")
    def test_a_real_model_goes_on_with_a_story(self):
        output = self.texts(
            "generate",
            "--model",
            tiny.STORIES,
            "--shardora",
            tiny.PROGRAM,
            "--prompt",
            "none",
            "once upon a time, there was a",
            "--",
            "--generate.max_new_tokens=12",
        )
        self.assertRegex(output, "^little girl named Lily")


if __name__ == "__main__":
    unittest.main()
