"""shardora-prepare: what every format's sequences and masks are, and what it counts, splits and says."""

import json
import subprocess
import unittest

import tiny
from tiny import Case

PAIR = {"prompt": "Say the", "completion": " ok"}
HEAD = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
CONTEXT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
)


@tiny.needs_packages
class Formats(Case):
    def test_completion_learns_answer_and_end_not_the_prompt(self):
        tokenizer = self.tokenizer()
        result = self.prepared(tokenizer, self.file("a.jsonl", [PAIR]), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>Say the[ ok</s>]"])
        self.assertEqual((result["tokens"], result["targets"]), (7, 2))  # <s> S a y " the" | " ok" </s>

    def test_text_learns_all_but_the_first_token(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.txt", "the ok\n"), "text")
        self.assertEqual(self.marked(tokenizer), ["<s>[the ok\n</s>]"])

    def test_text_without_a_beginning_token_has_its_first_word_unlearned(self):
        tokenizer = self.tokenizer(begin=False)
        self.prepared(tokenizer, self.file("a.txt", "the ok"), "text")
        self.assertEqual(self.marked(tokenizer), ["t[he ok</s>]"])

    def test_text_is_parted_by_the_separator_across_blocks(self):
        tokenizer = self.tokenizer()
        texts = [f"text {k} " + "x" * 30000 for k in range(5)]
        result = self.prepared(
            tokenizer, self.file("a.txt", "\n\n".join(texts) + "\n\n"), "text", "--separator", "\\n\\n"
        )
        self.assertEqual(result["records"], 5)
        self.assertEqual(self.marked(tokenizer), [f"<s>[{text}</s>]" for text in texts])

    def test_text_of_records(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.json", '[{"text": "ok", "id": 1}, {"text": "the"}]'), "text")
        self.assertEqual(self.marked(tokenizer), ["<s>[ok</s>]", "<s>[the</s>]"])

    def test_instruction_in_alpacas_words(self):
        tokenizer = self.tokenizer()
        records = [
            {"instruction": "Add", "input": "1 2", "output": "3"},
            {"instruction": "Go", "input": "", "output": "ok", "answer": "label"},
        ]
        self.prepared(tokenizer, self.file("a.jsonl", records), "instruction")
        self.assertEqual(
            self.marked(tokenizer),
            [
                f"<s>{CONTEXT}### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n[3</s>]",
                f"<s>{HEAD}### Instruction:\nGo\n\n### Response:\n[ok</s>]",
            ],
        )

    def test_instruction_in_the_papers_words_with_their_blanks(self):
        tokenizer, b = self.tokenizer(), " " * 16
        records = [{"instruction": "Add", "input": "1 2", "output": "3"}, {"instruction": "Go", "output": "ok"}]
        path = self.file("a.jsonl", records)
        self.prepared(tokenizer, path, "instruction", "--prompt", "llm-adapters")
        context, head = CONTEXT[:-2] + " \n\n", HEAD[:-2] + "  \n\n"
        self.assertEqual(
            self.marked(tokenizer),
            [
                f"<s>{context}{b}### Instruction:\n{b}Add\n{b}\n{b}### Input:\n{b}1 2\n{b}\n"
                f"{b}### Response:\n{b}[3</s>]",
                f"<s>{head}{b}### Instruction:\n{b}Go\n{b}\n{b}### Response:\n{b[1:]}[ ok</s>]",
            ],
        )
        self.prepared(tokenizer, path, "instruction", "--prompt", "llm-adapters-evaluation")
        self.assertEqual(
            self.marked(tokenizer),
            [
                f"<s>{CONTEXT}{b}### Instruction:\n{b}Add\n\n{b}### Input:\n{b}1 2\n\n{b}### Response:\n{b}[3</s>]",
                f"<s>{HEAD[:-2]} \n\n{b}### Instruction:\n{b}Go\n\n{b}### Response:\n{b[1:]}[ ok</s>]",
            ],
        )

    def test_a_token_with_characters_of_prompt_and_answer_is_learned_and_counted(self):
        tokenizer = self.tokenizer()
        records = [{"prompt": "Say ", "completion": "the"}, {"prompt": "Say", "completion": "the"}]
        result = self.prepared(tokenizer, self.file("a.jsonl", records), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>Say[ the</s>]", "<s>Say[the</s>]"])
        self.assertEqual(result["joined"], 1)

    def test_blanks_and_line_breaks_at_the_boundary_belong_to_whom_they_were_given(self):
        tokenizer = self.tokenizer()
        records = [
            {"prompt": "Say\n", "completion": "x"},
            {"prompt": "Say", "completion": "\nx"},
            {"prompt": "Say  ", "completion": "x"},
            {"prompt": "Say\n", "completion": "\nx"},
            {"prompt": "Say", "completion": "x \n "},
        ]
        self.prepared(tokenizer, self.file("a.jsonl", records), "completion")
        self.assertEqual(
            self.marked(tokenizer),
            ["<s>Say\n[x</s>]", "<s>Say[\nx</s>]", "<s>Say  [x</s>]", "<s>Say[\n\nx</s>]", "<s>Say[x \n </s>]"],
        )

    def test_a_prompts_last_character_of_several_tokens_is_not_learned(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.jsonl", [{"prompt": "€", "completion": "ü"}]), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>âĤ¬[Ã¼</s>]"])

    def test_beginning_and_end_come_once_where_the_text_has_them(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.jsonl", [{"prompt": "<s>Say", "completion": " ok</s>"}]), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>Say[ ok</s>]"])

    def test_template_file_of_text(self):
        tokenizer = self.tokenizer()
        template = self.file("template.txt", "Q: {instruction}\nA:")
        records = [{"instruction": "{input}", "input": "x", "output": " ok"}]  # braces of the data stay
        self.prepared(tokenizer, self.file("a.jsonl", records), "instruction", "--prompt", template)
        self.assertEqual(self.marked(tokenizer), ["<s>Q: {input}\n\nx\nA:[ ok</s>]"])

    def test_train_on_all_learns_the_prompt_too(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.jsonl", [PAIR]), "completion", "--train-on", "all")
        self.assertEqual(self.marked(tokenizer), ["<s>[Say the ok</s>]"])

    def test_csv_and_tsv(self):
        tokenizer = self.tokenizer()
        self.prepared(tokenizer, self.file("a.csv", 'prompt,completion\n"a,\nb"," ok"\n'), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>a,\nb[ ok</s>]"])
        self.prepared(tokenizer, self.file("a.tsv", "prompt\tcompletion\na, b\t ok\n"), "completion")
        self.assertEqual(self.marked(tokenizer), ["<s>a, b[ ok</s>]"])

    def test_chat_of_one_question_in_alpacas_words_where_there_is_no_chat_template(self):
        tokenizer = self.tokenizer()
        turns = [{"from": "human", "value": "Go"}, {"from": "gpt", "value": "ok"}]
        self.prepared(tokenizer, self.file("a.json", json.dumps([{"conversations": turns}])), "chat")
        self.assertEqual(self.marked(tokenizer), [f"<s>{HEAD}### Instruction:\nGo\n\n### Response:\n[ok</s>]"])

    def test_names_of_fields_can_be_mapped(self):
        tokenizer = self.tokenizer()
        path = self.file("a.jsonl", [{"question": "Say the", "answer": " ok"}])
        self.prepared(tokenizer, path, "completion", "--field", "prompt=question", "--field", "completion=answer")
        self.assertEqual(self.marked(tokenizer), ["<s>Say the[ ok</s>]"])


@tiny.needs_packages
class Parquet(Case):
    def test_parquet(self):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            self.skipTest("pyarrow is not installed")
        tokenizer = self.tokenizer(template=tiny.CHATML, begin=False)
        turns = [[{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]] * 3
        pyarrow.parquet.write_table(pyarrow.table({"messages": turns}), self.folder / "a.parquet")
        self.prepared(tokenizer, self.folder / "a.parquet", "chat")
        self.assertEqual(
            self.marked(tokenizer), ["<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\n[ok<|im_end|>]\n"] * 3
        )
        self.refused(65, "not Parquet", tokenizer, self.file("b.parquet", "no"), "chat")


@tiny.needs_packages
class Counts(Case):
    def setUp(self):
        super().setUp()
        self.words = self.tokenizer(config={"vocab_size": 300, "max_position_embeddings": 12})
        self.path = self.file(
            "a.jsonl",
            [
                PAIR,
                {"prompt": "Say", "completion": "x" * 20},
                {"prompt": "p" * 20, "completion": "x"},
                {"prompt": "Say", "completion": " "},
                PAIR,
            ],
        )

    def test_too_long_is_an_error_that_names_record_and_length(self):
        self.refused(65, r"a\.jsonl, line 2: 25 tokens, more than the 12", self.words, self.path, "completion")

    def test_dropped_records_are_counted_and_the_first_is_named(self):
        status, output, _ = self.prepare(self.words, self.path, "completion", "--overlong", "drop")
        self.assertEqual(status, 0)
        self.assertRegex(
            output,
            r"5 records: 2 kept, 2 dropped as too long \(first: .*a\.jsonl, line 2\), 1 dropped as empty "
            r"\(first: .*line 4\)",
        )
        result = json.loads(output.splitlines()[-1])
        self.assertEqual(
            [result[key] for key in ("kept", "dropped_too_long", "dropped_empty", "duplicates")], [2, 2, 1, 1]
        )

    def test_truncated_records_keep_their_heads_and_those_left_without_answer_are_dropped(self):
        result = self.prepared(self.words, self.path, "completion", "--overlong", "truncate")
        self.assertEqual([result[key] for key in ("kept", "cut", "dropped_no_target")], [2, 1, 1])
        self.assertEqual(self.marked(self.words), ["<s>Say the[ ok</s>]", "<s>Say[xxxxxxxx]", "<s>Say the[ ok</s>]"])

    def test_sequence_length_goes_before_the_models(self):
        result = self.prepared(self.words, self.path, "completion", "--sequence-length", "25")
        self.assertEqual(result["kept"], 4)

    def test_split_text_loses_no_token(self):
        result = self.prepared(self.words, self.file("a.txt", "x" * 30), "text", "--overlong", "split")
        self.assertEqual(
            self.marked(self.words), ["<s>[" + "x" * 11 + "]", "x[" + "x" * 11 + "]", "x[" + "x" * 6 + "</s>]"]
        )
        self.assertEqual((result["cut"], result["tokens"]), (1, 32))

    def test_duplicates_are_dropped_when_asked(self):
        result = self.prepared(self.words, self.path, "completion", "--overlong", "drop", "--drop-duplicates")
        self.assertEqual((result["sequences"], result["duplicates"]), (1, 1))
        self.assertEqual(self.marked(self.words), ["<s>Say the[ ok</s>]"])

    def test_of_duplicates_the_first_stays(self):
        other = {"prompt": "Go", "completion": "on"}
        self.prepared(self.words, self.file("b.jsonl", [PAIR, other, PAIR, PAIR]), "completion", "--drop-duplicates")
        self.assertEqual(self.marked(self.words), ["<s>Say the[ ok</s>]", "<s>Go[on</s>]"])

    def test_text_of_special_tokens_is_told(self):
        path = self.file("b.jsonl", [PAIR, {"prompt": "a", "completion": "b</s>"}])
        status, output, _ = self.prepare(self.words, path, "completion")
        self.assertEqual(status, 0)
        self.assertRegex(output, r"1 records have the text of a special token in them, .*\(first: .*b\.jsonl, line 2\)")
        self.assertEqual(json.loads(output.splitlines()[-1])["special_in_text"], 1)

    def test_text_that_the_vocabulary_lacks_is_counted(self):
        from tokenizers import Tokenizer, models, pre_tokenizers

        folder = self.tokenizer()
        words = Tokenizer(models.WordLevel({"[?]": 0, "a": 1, "b": 2}, unk_token="[?]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.add_special_tokens(["<s>", "</s>"])
        words.save(str(folder / "tokenizer.json"))
        result = self.prepared(folder, self.file("b.jsonl", [{"prompt": "a ", "completion": "b c d a"}]), "completion")
        self.assertEqual(self.marked(folder), ["a[b[?][?]a</s>]"])
        self.assertEqual((result["unknown_tokens"], result["joined"]), (2, 0))

    def test_nothing_left_is_an_error(self):
        path = self.file("b.jsonl", [{"prompt": "Say", "completion": ""}])
        self.refused(65, "nothing is left to learn from: 0 kept, 1 dropped as empty", self.words, path, "completion")

    def test_metadata_says_what_was_asked(self):
        from shardora import dataset_file
        from shardora.dataset_file import read_metadata

        self.prepared(self.words, self.path, "completion", "--overlong", "drop")
        about = read_metadata(self.output)
        self.assertEqual(
            (about["format"], about["source"], about["prompt"]), ("shardora.dataset.v1", "a.jsonl", "none")
        )
        self.assertEqual(json.loads(about["arguments"])["overlong"], "drop")
        self.assertRegex(about["tokenizer_sha256"], "^[0-9a-f]{64}$")
        self.assertEqual(len(dataset_file.read(self.output)), 2)


@tiny.needs_packages
class Split(Case):
    def records(self):
        return [{"prompt": f"question {k % 150}", "completion": f" answer {k}"} for k in range(300)]

    def parts(self, tokenizer, *more):
        self.prepared(tokenizer, self.file("a.jsonl", self.records()), "completion", "--eval-fraction", "0.2", *more)
        return self.marked(tokenizer), self.marked(tokenizer, self.folder / "out.eval.safetensors")

    def test_both_parts_together_are_the_whole_and_share_no_prompt(self):
        tokenizer = self.tokenizer()
        train, held_out = self.parts(tokenizer)
        self.assertEqual(
            sorted(train + held_out), sorted(f"<s>question {k % 150}[ answer {k}</s>]" for k in range(300))
        )
        self.assertTrue(30 <= len(held_out) <= 90, len(held_out))
        prompts = [{text.partition("[")[0] for text in part} for part in (train, held_out)]
        self.assertFalse(prompts[0] & prompts[1])

    def test_the_seed_chooses(self):
        tokenizer = self.tokenizer()
        first, again, other = self.parts(tokenizer), self.parts(tokenizer), self.parts(tokenizer, "--seed", "1")
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_a_share_that_holds_out_nothing_is_refused(self):
        self.refused(
            64,
            "holds out none of 1 sequences",
            self.tokenizer(),
            self.file("a.jsonl", [PAIR]),
            "completion",
            "--eval-fraction",
            "0.0000001",
        )


@tiny.needs_packages
@tiny.needs_stories
@unittest.skipIf(not tiny.PROGRAM.exists(), f"{tiny.PROGRAM} is not built (SHARDORA_PROGRAM)")
class TheProgramReadsIt(Case):
    def test_every_format(self):
        turns = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]
        samples = {
            "text": {"text": "one day"},
            "completion": PAIR,
            "instruction": {"instruction": "Go", "output": "ok"},
            "chat": {"messages": turns},
        }
        for form, sample in samples.items():
            result = self.prepared(tiny.STORIES, self.file("a.jsonl", [sample] * 3), form)
            done = subprocess.run(
                [tiny.PROGRAM, "inspect", f"--model.path={tiny.STORIES}", f"--data.train={self.output}"],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f'"tokens":{result["tokens"]}', done.stdout, form)


@tiny.needs_packages
class AsAProgram(Case):
    def test_help_and_a_mistake_and_a_run(self):
        command = tiny.COMMANDS / "shardora-prepare"

        def run(*arguments):
            return subprocess.run([command, *arguments], capture_output=True, text=True)

        self.assertIn("--train-on", run("--help").stdout)
        wrong = run("--format", "poem")
        self.assertEqual((wrong.returncode, wrong.stdout), (64, ""))
        self.assertRegex(wrong.stderr, r"^shardora-prepare: argument --format: invalid choice: 'poem'.*\n$")
        tokenizer, path = self.tokenizer(), self.file("a.jsonl", [PAIR])
        done = run("--tokenizer", tokenizer, "--input", path, "--format", "completion", "--output", self.output)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("<s>Say the⟦ ok</s>⟧\n", done.stdout)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])["sequences"], 1)


if __name__ == "__main__":
    unittest.main()
