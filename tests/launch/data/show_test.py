"""shardora-show: a dataset file's sequences as text, what is learned between brackets."""

import unittest

import tiny
from tiny import Case

TRAINED = [{"prompt": "Go", "completion": f" ok {k}"} for k in range(5)]


@tiny.needs_packages
class Show(Case):
    def setUp(self):
        super().setUp()
        self.tokenizer = tiny.tokenizer_folder(self.folder / "tokenizer")
        self.prepared(self.tokenizer, self.file("train.jsonl", TRAINED), "completion")

    def show(self, *arguments):
        from shardora.data import show

        return tiny.run_script(show, "shardora-show", ("--tokenizer", self.folder / "tokenizer", *arguments))

    def test_what_is_learned_stands_between_brackets(self):
        status, output, errors = self.show(self.output, "--sequence", "3", "0")
        self.assertEqual((status, errors), (0, ""))
        lines = output.splitlines()
        self.assertEqual(lines[1], "<s>Go⟦ ok 3</s>⟧")
        self.assertEqual(lines[3], "<s>Go⟦ ok 0</s>⟧")
        self.assertRegex(lines[0], r"^sequence 3: \d+ tokens, \d+ learned$")

    def test_samples_are_spread_over_the_file(self):
        _, output, _ = self.show(self.output, "--samples", "2")
        self.assertEqual([line for line in output.splitlines() if line.startswith("<s>")],
                         ["<s>Go⟦ ok 0</s>⟧", "<s>Go⟦ ok 2</s>⟧"])

    def test_bad_input_is_one_line(self):
        other = self.folder / "other.safetensors"
        other.write_bytes(b"not a dataset")
        tiny.tokenizer_folder(self.folder / "elsewhere", begin=False)
        for words, status, said in (
                ((self.output, "--sequence", "5"), 64, "has sequences 0 to 4"),
                ((self.output, "--samples", "0"), 64, "expected 1 or more"),
                ((other,), 65, "expected a dataset file"),
                ((self.folder / "none",), 65, "expected a dataset file"),
                ((self.output, "--tokenizer", self.folder / "elsewhere"), 65, "made with another tokenizer")):
            told = self.show(*words)
            self.assertEqual((told[0], told[1]), (status, ""), words)
            self.assertIn(said, told[2])
            self.assertEqual(told[2].count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
