"""The quickstart's material: dataset files, the tokenizer, and the split between what is trained and what is asked."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from shardora import dataset_file
from shardora.quickstart import bytes_tokenizer, make, questions, sentences, tickets

STEP = (sys.executable, "-m", "shardora.quickstart")


class QuickstartData(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_dataset_file_reads_back_as_it_was_written(self):
        sequences = [([256, 7, 257], [0, 0, 1]), ([], []), ([1], [0])]
        dataset_file.write(self.folder / "a.safetensors", sequences)
        self.assertEqual(dataset_file.read(self.folder / "a.safetensors"), sequences)

    def test_dataset_file_without_mask_trains_every_token_but_the_first(self):
        header = b'{"__metadata__":{"format":"shardora.dataset.v1"},"offsets":{"dtype":"I64","shape":[2],"data_offsets":' \
                 b'[0,16]},"tokens":{"dtype":"I32","shape":[3],"data_offsets":[16,28]}}'
        body = b"".join(n.to_bytes(8, "little") for n in (0, 3)) + b"".join(n.to_bytes(4, "little") for n in (5, 6, 7))
        (self.folder / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)
        self.assertEqual(dataset_file.read(self.folder / "a.safetensors"), [([5, 6, 7], [0, 1, 1])])

    def test_a_first_token_as_target_is_refused(self):
        with self.assertRaisesRegex(ValueError, "first token cannot be a target"):
            dataset_file.write(self.folder / "a.safetensors", [([1, 2], [1, 1])])

    def test_training_never_sees_a_held_out_pair(self):
        for sentence, answer in sentences.samples(500, evaluation=False, seed=5):
            fields = json.loads(answer)
            self.assertFalse(sentences.held_out(fields["who"], fields["where"]), sentence)
        for page in sentences.pages(300, evaluation=False, seed=5):
            self.assertNotIn("weather", page)  # the base model reads no answer
        for _, answer in sentences.samples(100, evaluation=True, seed=5):
            fields = json.loads(answer)
            self.assertTrue(sentences.held_out(fields["who"], fields["where"]))

    def test_every_name_and_place_occurs_in_training(self):
        pairs = [(who, where) for who in sentences.WHO for where in sentences.WHERE
                 if not sentences.held_out(who, where)]
        self.assertEqual({who for who, _ in pairs}, set(sentences.WHO))
        self.assertEqual({where for _, where in pairs}, set(sentences.WHERE))

    def test_questions_are_the_held_out_sentences_heads_and_answers_their_tails(self):
        make.make(str(self.folder))
        asked = questions.read(self.folder / "data")
        self.assertEqual(len(asked), make.ANSWERS)
        for (prompt, answer), (tokens, mask) in zip(asked, dataset_file.read(self.folder / "data/skill.eval.safetensors")):
            self.assertEqual(prompt + answer, tokens)
            self.assertEqual(sum(mask), len(answer))
            self.assertEqual(answer[-1], bytes_tokenizer.END)
            self.assertEqual(set(json.loads(bytes_tokenizer.decode(answer))), {"who", "where", "weather"})

    def test_a_question_of_a_chat_ends_where_its_answer_ends(self):
        questions.write(self.folder, [([1, 2, 3, 4, 5], [0, 0, 1, 1, 0])])
        self.assertEqual(questions.read(self.folder), [([1, 2], [3, 4])])

    def test_tickets_of_held_out_pairs_are_never_trained_and_say_what_the_message_says(self):
        for evaluation in (False, True):
            for chat in tickets.chats(300, evaluation, seed=5):
                question, answer = (turn["content"] for turn in chat["messages"])
                ticket = json.loads(answer)
                self.assertEqual(list(ticket), ["name", "street", "appliance", "problem", "day", "time"])
                first, street = ticket["name"].split()[0], ticket["street"].split(maxsplit=1)[1]
                self.assertEqual(tickets.held_out(first, street), evaluation)
                for field in ("name", "street", "appliance", "day"):
                    self.assertIn(ticket[field], question)
                self.assertTrue(any(phrase in question for phrase in tickets.TROUBLES[ticket["problem"]]))
                self.assertTrue(any(phrase in question for phrase in tickets.TIMES[ticket["time"]]))

    def test_no_phrase_of_a_message_has_two_meanings(self):
        for table in (tickets.TROUBLES, tickets.TIMES):
            phrases = [phrase for several in table.values() for phrase in several]
            self.assertEqual(len(phrases), len(set(phrases)))

    def test_tokenizer_file_maps_every_byte_to_its_own_id(self):
        bytes_tokenizer.write(self.folder)
        vocabulary = json.loads((self.folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
        self.assertEqual(sorted(vocabulary.values()), list(range(259)))
        self.assertEqual(vocabulary["A"], ord("A"))
        self.assertEqual(vocabulary["Ġ"], ord(" "))

    def test_own_dataset_is_split_without_overlap_or_loss_but_of_what_no_model_can_read(self):
        (self.folder / "config.json").write_text('{"max_position_embeddings": 3}')
        sequences = [([k, k + 1000, k + 2000], [0, 0, 1]) for k in range(37)]
        useless = [([1, 2, 3, 4], [0, 1, 1, 1]), ([1, 2], [0, 0])]
        dataset_file.write(self.folder / "mine.safetensors", sequences + useless)
        subprocess.run([*STEP, "split", self.folder, self.folder / "mine.safetensors",
                        self.folder], check=True, capture_output=True)
        parts = [dataset_file.read(self.folder / f"data/skill.{part}.safetensors") for part in ("train", "eval")]
        self.assertEqual([len(part) for part in parts], [34, 3])
        self.assertEqual(sorted(parts[0] + parts[1]), sequences)

    def refused(self, text):
        """What is said, in one line, of a reader's file that has another form."""
        (self.folder / "tokenizer.json").write_text("{}")
        (self.folder / "mine.json").write_text(text)
        done = subprocess.run([*STEP, "split", self.folder, self.folder / "mine.json",
                               self.folder], check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("prompt and completion", done.stderr)
        return done.stderr

    def test_own_text_of_another_form_is_refused_with_the_fields_found_and_expected(self):
        (self.folder / "config.json").write_text('{"eos_token_id": 2}')
        good = '{"prompt": "1+1", "completion": "2"}\n'
        self.assertIn("line 3: its fields are question (str), answer (str), expected",
                      self.refused(good + "\n" + '{"question": "1+1", "answer": "2"}\n'))
        self.assertIn("line 1: its fields are prompt (str), completion (list), expected",
                      self.refused('{"prompt": "1+1", "completion": ["2"]}\n'))
        self.assertIn("line 1: is [{'prompt'", self.refused('[{"prompt": "1+1", "completion": "2"}]\n'))
        self.assertIn("line 1: starts with '[", self.refused('[\n  {"prompt": "1+1", "completion": "2"}\n]\n'))

    def test_a_damaged_dataset_is_refused_in_one_line(self):
        (self.folder / "config.json").write_text("{}")
        dataset_file.write(self.folder / "a.safetensors", [([1, 2], [0, 1])] * 3)
        whole = (self.folder / "a.safetensors").read_bytes()
        (self.folder / "a.safetensors").write_bytes(whole.replace(b"dataset.v1", b"dataset.v9"))
        done = subprocess.run([*STEP, "split", self.folder, self.folder / "a.safetensors",
                               self.folder], check=False, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (65, 1), done.stderr)
        self.assertIn("shardora-prepare", done.stderr)


if __name__ == "__main__":
    unittest.main()
