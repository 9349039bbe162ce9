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
                "train.global_batch": "16",
                "output.dir": "run",
            },
        )
        self.assertRegex(said, r"(?m)^shardora-convert: evals_per_epoch: ")
        self.assertNotRegex(said, "load_in_4bit|wandb_project")

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
