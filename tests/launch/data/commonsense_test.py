"""shardora-commonsense: questions of all eight tasks, the papers' rule of what counts as an answer, and what the program is
asked. A program of the test's own answers here, so that right and wrong are known beforehand."""

import json
import sys
import unittest

import tiny

if not tiny.MISSING:
    from shardora import commonsense

# Task, what a model wrote after "### Response:", the answer found in it.
WRITTEN = [
    ("boolq", "the correct answer is true", "true"),
    ("boolq", "It is false, not true.", "false"),
    ("piqa", "the correct answer is solution2", "solution2"),
    ("piqa", "solution3", None),
    ("social_i_qa", "the correct answer is answer3\n", "answer3"),
    ("hellaswag", "ending4 or ending1", "ending4"),
    ("hellaswag", "ending5", None),
    ("winogrande", "the correct answer is option1", "option1"),
    ("ARC-Easy", "answer5", "answer5"),
    ("ARC-Challenge", "I do not know", None),
    ("openbookqa", "Answer1", None),  # case counts
    ("openbookqa", "", None),
    ("openbookqa", "none ### Response: answer1", None),  # a second mark ends what is looked at
]

# Writes its arguments down; generates the texts, or scores the options, that the test has put beside it.
STAND_IN = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with open(here / "asked.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
given = json.loads((here / "given.json").read_text())
if given.get("status"):
    sys.exit(given["status"])
print("not the result")
if sys.argv[1] == "generate":
    print(json.dumps({{"sequences": [{{"tokens": tokens}} for tokens in given["tokens"]]}}))
else:
    print(json.dumps({{"choices": {{"accuracy": given["accuracy"]}}}}))
"""


def question(answer, names, text="What?"):
    return {"instruction": f"{text}\n\nAnswer format: {'/'.join(names)}", "input": "", "output": f"the correct answer is {answer}",
            "answer": answer}


@tiny.needs_packages
class Extraction(unittest.TestCase):
    def test_the_first_name_of_the_task_is_the_answer(self):
        for task, text, found in WRITTEN:
            self.assertEqual(commonsense.extract(text, task), found, (task, text))

    def test_a_question_offers_what_its_last_line_says(self):
        self.assertEqual(commonsense.offered("Q\n\nAnswer format: answer1/answer2/answer3", "ARC-Easy"), ["answer1", "answer2", "answer3"])
        self.assertEqual(commonsense.offered("Q\n\nAnswer format: true/false", "boolq"), ["true", "false"])
        self.assertEqual(commonsense.offered("no such line", "piqa"), ["solution1", "solution2"])
        self.assertEqual(commonsense.offered("Answer format: yes/no", "boolq"), ["true", "false"])


@tiny.needs_packages
class Commonsense(tiny.Case):
    def setUp(self):
        super().setUp()
        self.model = self.tokenizer(config={"vocab_size": 300, "max_position_embeddings": 400})
        self.program = self.file("shardora", STAND_IN.format(python=sys.executable))
        self.program.chmod(0o755)

    def questions(self, task, *records):
        folder = self.folder / "data" / task
        folder.mkdir(parents=True)
        (folder / "test.json").write_text(json.dumps(records), "utf-8")

    def run_it(self, *more, given=None):
        from shardora import commonsense

        (self.folder / "given.json").write_text(json.dumps(given or {}), "utf-8")
        return tiny.run_script(commonsense, "shardora-commonsense", ["--model", self.model, "--data", self.folder / "data", "--output",
                                                              self.folder / "results", "--shardora", self.program, *more])

    def result(self, *more, given=None):
        status, output, errors = self.run_it(*more, given=given)
        self.assertEqual((status, errors), (0, ""))
        return json.loads(output.splitlines()[-1]), output

    def ids(self, text):
        from shardora.data.tokenizer import Encoder

        return Encoder(self.model).ids(text, add_special=False)

    def asked(self):
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]

    def test_both_scores_stand_side_by_side(self):
        self.questions("boolq", question("true", ["true", "false"]), question("false", ["true", "false"]),
                       question("false", ["true", "false"]), question("true", ["true", "false"]))
        texts = ["the correct answer is true", "true", "false", "who knows"]
        result, output = self.result(given={"tokens": [self.ids(text) for text in texts], "accuracy": 0.25})
        (row,) = result["tasks"]
        self.assertEqual((row["questions"], row["too_long"], row["chance"]), (4, 0, 0.5))
        self.assertEqual((row["generated"], row["likelihood"]), (0.5, 0.25))
        self.assertIn("50.00%", output)
        self.assertEqual(result, json.loads((self.folder / "results/commonsense.json").read_text()))
        lines = [json.loads(line) for line in (self.folder / "results/boolq/generated.jsonl").read_text().splitlines()]
        self.assertEqual([line["found"] for line in lines], ["true", "true", "false", None])

    def test_the_program_gets_the_papers_settings_and_what_follows_the_dashes(self):
        self.questions("piqa", question("solution1", ["solution1", "solution2"]))
        self.result("--adapter", "some/adapter", "--", "--parallel.threads=1", given={"tokens": [[1]], "accuracy": 0})
        generate, evaluate = self.asked()
        self.assertEqual(generate[0], "generate")
        for flag in ("--generate.beams=4", "--generate.max_new_tokens=32", "--adapter.path=some/adapter", f"--model.path={self.model}",
                     "--parallel.threads=1"):
            self.assertIn(flag, generate)
        self.assertEqual(evaluate[0], "eval")
        self.assertIn("--parallel.threads=1", evaluate)

    def test_prompts_and_options_are_the_papers_text(self):
        from safetensors.numpy import load_file

        from shardora.data.tokenizer import Encoder

        self.questions("piqa", question("solution2", ["solution1", "solution2"], "Which?"))
        self.result(given={"tokens": [[1]], "accuracy": 1})
        decode = Encoder(self.model).decode
        blanks = " " * 16
        text = ("<s>Below is an instruction that describes a task. Write a response that appropriately completes the request. \n\n"
                f"{blanks}### Instruction:\n{blanks}Which?\n\nAnswer format: solution1/solution2\n\n{blanks}### Response:\n{blanks}")
        prompts = load_file(self.folder / "results/piqa/prompts.safetensors")
        self.assertEqual(decode(prompts["tokens"].tolist()), text)
        choices = load_file(self.folder / "results/piqa/choices.safetensors")
        self.assertEqual(choices["questions"].tolist(), [0, 2])
        self.assertEqual(choices["answers"].tolist(), [1])
        for k, name in enumerate(("solution1", "solution2")):
            begin, end = choices["offsets"][k : k + 2]
            tokens, mask = choices["tokens"][begin:end], choices["loss_mask"][begin:end].astype(bool)
            self.assertEqual(decode(tokens.tolist()), f"{text}the correct answer is {name}")
            # The prompt's last blank and "the" are one token, which is the answer's.
            self.assertEqual(decode(tokens[mask].tolist()), f" the correct answer is {name}")

    def test_a_question_too_long_for_the_model_is_wrong_and_counted(self):
        self.questions("boolq", question("true", ["true", "false"]), question("true", ["true", "false"], "x" * 400))
        result, _ = self.result(given={"tokens": [self.ids("true")], "accuracy": 1})
        (row,) = result["tasks"]
        self.assertEqual((row["questions"], row["too_long"], row["generated"], row["likelihood"]), (2, 1, 0.5, 0.5))

    def test_tasks_are_those_that_are_there(self):
        for task in ("winogrande", "hellaswag"):
            names = commonsense.TASKS[task]
            self.questions(task, question(names[0], names))
        result, output = self.result("--scores", "likelihood", given={"accuracy": 1})
        self.assertEqual([row["task"] for row in result["tasks"]], ["hellaswag", "winogrande"])
        self.assertNotIn("generated", result["tasks"][0])
        self.assertIn("mean of tasks", output)

    def test_what_cannot_be_asked_is_refused_in_one_line(self):
        def refused(status, pattern, *more, given=None):
            got, _, errors = self.run_it(*more, given=given)
            self.assertEqual(got, status, errors)
            self.assertRegex(errors, rf"^shardora-commonsense: .*{pattern}")
            self.assertEqual(errors.count("\n"), 1)

        refused(64, "no such folder")
        self.questions("boolq", {"instruction": "What?", "answer": "maybe"})
        refused(65, "'maybe', expected one of true, false")
        refused(64, "no such task", "--tasks", "arc")
        refused(65, "no such file, expected LLM-Adapters' test questions of piqa", "--tasks", "piqa")
        refused(64, "expected 1 or more", "--most", "0")
        self.questions("piqa", {"question": "What?", "label": 1})
        refused(65, "found question, label", "--tasks", "piqa")
        self.questions("winogrande", question("option1", ["option1", "option2"]))
        refused(66, "generate ended with status 66", "--tasks", "winogrande", given={"status": 66})


if __name__ == "__main__":
    unittest.main()
