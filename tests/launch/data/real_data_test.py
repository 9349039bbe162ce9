"""Real data with real tokenizers: every sample's tokens are those of transformers, and nothing is lost uncounted."""

import json
import unittest

import tiny
from tiny import Case

GSM8K = tiny.SHARED / "gsm8k" / "train.jsonl"
ARC = tiny.SHARED / "commonsense" / "ARC-Easy" / "train.json"


@tiny.needs_packages
@tiny.needs_stories
@tiny.needs_minimind
class RealData(Case):
    def sequences(self):
        from shardora import dataset_file

        return dataset_file.read(self.output)

    def tokenizer_of(self, folder):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder)

    def test_school_problems_as_completions(self):
        records = [json.loads(line) for line in GSM8K.read_text("utf-8").splitlines()]
        result = self.prepared(
            tiny.STORIES,
            GSM8K,
            "completion",
            "--field",
            "prompt=question",
            "--field",
            "completion=answer",
            "--overlong",
            "drop",
        )
        tokenizer = self.tokenizer_of(tiny.STORIES)
        whole = tokenizer([record["question"] + record["answer"] for record in records])["input_ids"]
        prompts = tokenizer([record["question"] for record in records])["input_ids"]
        expected = [(tokens + [2], len(prompt)) for tokens, prompt in zip(whole, prompts) if len(tokens) < 512]
        self.assertEqual([result[key] for key in ("records", "kept", "dropped_too_long")], [7473, 6561, 912])
        sequences = self.sequences()
        self.assertEqual([tokens for tokens, _ in sequences], [tokens for tokens, _ in expected])
        # This tokenizer's questions are always tokenized as they are alone: they end in a full stop or question mark.
        alone = sum(
            mask == [0] * length + [1] * (len(mask) - length) for (_, mask), (_, length) in zip(sequences, expected)
        )
        self.assertEqual(alone, len(expected))

    def test_multiple_choice_as_a_chat(self):
        records = json.loads(ARC.read_text("utf-8"))
        self.prepared(tiny.MINIMIND, ARC, "instruction")
        tokenizer = self.tokenizer_of(tiny.MINIMIND)
        answers = [tokenizer(record["output"])["input_ids"] + [2] for record in records]
        for (tokens, mask), record, answer in zip(self.sequences(), records, answers, strict=True):
            turns = [
                {"role": "user", "content": record["instruction"]},
                {"role": "assistant", "content": record["output"]},
            ]
            self.assertEqual(tokens, tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"])
            self.assertEqual([token for token, on in zip(tokens, mask) if on], answer)


if __name__ == "__main__":
    unittest.main()
