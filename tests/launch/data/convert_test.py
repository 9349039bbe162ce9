"""shardora-convert: what LLaMA-Factory's and Axolotl's files become, and what is said of the rest."""

import configparser
import importlib.util
import json
import os
import shlex
import subprocess
import unittest

import tiny
from tiny import Case

FACTORY = """
model_name_or_path: MODEL
stage: sft
do_train: true
finetuning_type: lora
use_dora: true
lora_target: q_proj,v_proj
dataset: mine
dataset_dir: .
template: llama3
cutoff_len: 256
learning_rate: 1e-4
per_device_train_batch_size: 2
gradient_accumulation_steps: 3
max_steps: 4
warmup_ratio: 0.1
val_size: 0.2
output_dir: run
quantization_bit: 4
bf16: true
surprise: 3
"""
AXOLOTL = """
base_model: MODEL
adapter: lora
lora_r: 4
lora_alpha: 8
lora_dropout: 0.05
lora_target_linear: true
datasets:
  - path: mine.jsonl
    type: alpaca
sequence_len: 256
sample_packing: true
load_in_4bit: false
micro_batch_size: 2
gradient_accumulation_steps: 2
num_epochs: 0.5
learning_rate: 2e-4
cosine_min_lr_ratio: 0.1
val_set_size: 0.2
output_dir: run
wandb_project:
evals_per_epoch: 4
"""


@unittest.skipIf(importlib.util.find_spec("yaml") is None, "PyYAML is not installed (launch/install.sh data)")
class ConvertConfig(Case):
    def convert(self, content, *more):
        from shardora.convert import command

        return tiny.run_script(command, "shardora-convert", [self.file("their.yaml", content), *more])

    def converted(self, content, *more):
        """(keys with values as text, what was said)"""
        status, output, errors = self.convert(content, *more)
        self.assertEqual(status, 0, errors)
        config = configparser.ConfigParser()
        config.read_string(output)
        return {
            f"{section}.{key}": value for section in config.sections() for key, value in config[section].items()
        }, errors

    def refused(self, status, pattern, content, *more):
        got, output, errors = self.convert(content, *more)
        self.assertEqual((got, output), (status, ""), errors)
        self.assertRegex(errors, rf"^shardora-convert: .*{pattern}.*\n$")

    def test_llama_factory_with_its_defaults(self):
        keys, said = self.converted(FACTORY)
        self.assertEqual(
            keys,
            {
                "model.path": "MODEL",
                "adapter.method": "dora",
                "adapter.rank": "8",
                "adapter.alpha": "16",
                "adapter.target_modules": "q_proj,v_proj",
                "data.sequence_length": "256",
                "data.train": "train.safetensors",
                "data.eval": "train.eval.safetensors",
                "train.steps": "4",
                "train.learning_rate": "0.0001",
                "train.schedule": "linear",
                "train.warmup_steps": "0.1",
                "train.recompute": "full",
                "train.global_batch": "6",
                "output.dir": "run",
            },
        )
        for key in ("template", "quantization_bit", "bf16", "surprise", "dataset", "model.path"):
            self.assertRegex(said, rf"(?m)^shardora-convert: {key}: ")
        self.assertNotIn("use_dora", said)

    def test_axolotl(self):
        keys, said = self.converted(AXOLOTL, "--devices", "4")
        self.assertEqual(
            keys,
            {
                "model.path": "MODEL",
                "adapter.method": "lora",
                "adapter.dropout": "0.05",
                "adapter.dropout_scope": "adapter",
                "adapter.rank": "4",
                "adapter.alpha": "8",
                "adapter.target_modules": "all-linear",
                "data.sequence_length": "256",
                "data.train": "train.safetensors",
                "data.eval": "train.eval.safetensors",
                "train.epochs": "0.5",
                "train.learning_rate": "0.0002",
                "train.min_learning_rate": "2e-05",
                "train.schedule": "cosine",
                "train.warmup_steps": "0.03",
                "train.global_batch": "16",
                "output.dir": "run",
            },
        )
        self.assertRegex(said, r"(?m)^shardora-convert: evals_per_epoch: ")
        self.assertNotRegex(said, "load_in_4bit|wandb_project")

    def test_warm_up_is_a_share_or_steps_as_there(self):
        def warmup(content, lines):
            return self.converted(content.replace("warmup_ratio: 0.1\n", "") + lines)[0].get("train.warmup_steps")

        for content in (FACTORY, AXOLOTL):
            self.assertEqual(warmup(content, "warmup_steps: 0.1\n"), "0.1")
            self.assertEqual(warmup(content, "warmup_steps: 10\n"), "10")
            self.assertEqual(warmup(content, "warmup_steps: 10\nwarmup_ratio: 0.2\n"), "10")
            self.assertEqual(warmup(content, "warmup_ratio: 0.2\nwarmup_steps: 10\n"), "10")
            self.assertEqual(warmup(content, "warmup_ratio: 0.2\n"), "0.2")
        self.assertEqual(warmup(FACTORY, "warmup_ratio: 0.2\nwarmup_steps: 0\n"), "0.2")  # as transformers
        self.assertEqual(warmup(AXOLOTL, "warmup_ratio: 0.2\nwarmup_steps: 0\n"), "0")
        self.assertIsNone(warmup(FACTORY, ""))
        self.refused(65, "warmup_steps is 10.5, expected a whole number", FACTORY + "warmup_steps: 10.5\n")
        self.refused(65, "warmup_steps is -1, expected 0 or more", FACTORY + "warmup_steps: -1\n")
        for scheduler, found in (("constant", None), ("constant_with_warmup", "0.1")):
            keys, _ = self.converted(FACTORY + f"lr_scheduler_type: {scheduler}\n")
            self.assertEqual((keys["train.schedule"], keys.get("train.warmup_steps")), ("constant", found))

    def test_axolotl_warms_up_unless_told_otherwise(self):
        keys, said = self.converted(AXOLOTL)
        self.assertEqual(keys["train.warmup_steps"], "0.03")
        self.assertRegex(said, "(?m)^shardora-convert: warmup_steps: .* 3 % of the steps, at most 100")
        for steps, found in ((200, "6"), (50, "2"), (20, "0"), (10000, "100")):
            self.assertEqual(self.converted(AXOLOTL + f"max_steps: {steps}\n")[0]["train.warmup_steps"], found)

    def test_axolotls_other_defaults(self):
        keys, said = self.converted(AXOLOTL.replace("sequence_len: 256\n", "").replace("lora_alpha: 8\n", ""))
        self.assertEqual(keys["data.sequence_length"], "512")
        self.assertRegex(said, "(?m)^shardora-convert: lora_alpha: not in the file")
        self.assertNotRegex(said, "lora_r:|lora_target")
        _, said = self.converted(AXOLOTL.replace("lora_target_linear: true\n", ""))
        self.assertRegex(said, "(?m)^shardora-convert: lora_target_modules: not in the file")
        batch = AXOLOTL.replace("gradient_accumulation_steps: 2\n", "batch_size: 8\n")
        self.assertEqual(self.converted(batch)[0]["train.global_batch"], "8")

    def test_a_rate_that_is_not_there_is_said(self):
        content = AXOLOTL.replace("learning_rate: 2e-4\n", "")
        keys, said = self.converted(content)
        self.assertFalse({"train.learning_rate", "train.min_learning_rate"} & set(keys))
        self.assertRegex(said, "(?m)^shardora-convert: learning_rate: not in the file")
        self.assertRegex(said, "(?m)^shardora-convert: cosine_min_lr_ratio: .*train.min_learning_rate")

    def test_the_lowest_rate_of_transformers_own_schedule(self):
        content = FACTORY + "lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs:\n"
        for line, found in (("min_lr: 1e-5", "1e-05"), ("min_lr_rate: 0.2", "2e-05")):
            keys, said = self.converted(content + f"  {line}\n  odd: 1\n")
            self.assertEqual((keys["train.schedule"], keys["train.min_learning_rate"]), ("cosine", found))
            self.assertRegex(said, "(?m)^shardora-convert: lr_scheduler_kwargs.odd: ")
            self.assertNotRegex(said, "min_lr|cosine")

    def test_packed_batches_and_sets_to_evaluate_are_said(self):
        for content in (AXOLOTL, FACTORY + "packing: true\n", FACTORY.replace("stage: sft", "stage: pt")):
            _, said = self.converted(content)
            self.assertRegex(said, "(?m)^shardora-convert: (sample_)?packing: .*train.global_batch")
        _, said = self.converted(FACTORY + "eval_dataset: other\n")
        self.assertRegex(said, "(?m)^shardora-convert: eval_dataset: .*data.eval")

    def test_full_fine_tuning_has_no_adapter(self):
        for content in (
            FACTORY.replace("finetuning_type: lora", "finetuning_type: full"),
            AXOLOTL.replace("adapter: lora", "adapter:"),
        ):
            keys, _ = self.converted(content)
            self.assertEqual([key for key in keys if key.startswith("adapter.")], ["adapter.method"])
            self.assertEqual(keys["adapter.method"], "full")

    def test_what_cannot_be_converted_is_refused_with_its_key(self):
        self.refused(65, "their.yaml: stage is 'dpo'; .* expected sft or pt", FACTORY.replace("sft", "dpo"))
        self.refused(65, "finetuning_type is 'freeze'", FACTORY.replace("type: lora", "type: freeze"))
        self.refused(65, "rl is 'dpo'", AXOLOTL + "rl: dpo\n")
        self.refused(65, "learning_rate is 'fast', expected a number", FACTORY.replace("1e-4", "fast"))
        self.refused(65, "lora_r is 4.5, expected a whole number", AXOLOTL.replace("lora_r: 4", "lora_r: 4.5"))
        self.refused(65, "datasets is 'a', expected a list", AXOLOTL.partition("datasets")[0] + "datasets: a\n")
        self.refused(65, "neither LLaMA-Factory nor Axolotl", "a: 1\n")
        self.refused(65, "not YAML", "a: [\n")
        self.refused(65, "expected keys with values", "- a\n")
        self.refused(64, "invalid choice: 'x'", FACTORY, "--from", "x")
        self.refused(73, "cannot be written", FACTORY, "--output", self.folder / "no/such")

    @tiny.needs_packages
    @tiny.needs_stories
    @unittest.skipIf(not tiny.PROGRAM.exists(), f"{tiny.PROGRAM} is not built (SHARDORA_PROGRAM)")
    def test_what_comes_out_prepares_and_trains(self):
        records = [{"instruction": f"Count to {k}", "input": "", "output": "one day"} for k in range(40)]
        self.file("mine.jsonl", records)
        self.file("dataset_info.json", json.dumps({"mine": {"file_name": "mine.jsonl"}}))
        for content in (FACTORY, AXOLOTL):
            content = content.replace("MODEL", str(tiny.STORIES)).replace("mine.jsonl", str(self.folder / "mine.jsonl"))
            content = content.replace("output_dir: run", f"output_dir: run{len(content)}")
            output = self.folder / "train.cfg"
            status, _, said = self.convert(content, "--output", output)
            self.assertEqual(status, 0, said)
            commands = [line[1:].strip() for line in output.read_text("utf-8").splitlines() if "shardora-prepare" in line]
            for command in commands:
                name, *arguments = shlex.split(command)
                self.run_in_folder(tiny.COMMANDS / name, *arguments)
            done = self.run_in_folder(tiny.PROGRAM, "train", "--config", output)
            self.assertEqual(json.loads(done.splitlines()[-1])["steps"], 4)

    def run_in_folder(self, *command):
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


if __name__ == "__main__":
    unittest.main()
