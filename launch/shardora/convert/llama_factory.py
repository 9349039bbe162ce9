"""LLaMA-Factory's keys. Where its file is silent its own defaults count, so they are written out."""

import json
import os

from shardora.convert.settings import (
    COMMON,
    adapter,
    convert,
    copy,
    evaluation_parts,
    handled_elsewhere,
    held_out,
    leave,
    names,
    packing,
    real,
    text,
    whole,
    yes,
)
from shardora.errors import Error, shown

MARKS = {"model_name_or_path", "finetuning_type", "stage", "cutoff_len", "lora_target", "lora_rank", "dataset_dir"}
_FILES = leave("belongs to the data; see the command in the file")
_DEFAULTS = {
    "num_train_epochs": 3.0,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "lora_rank": 8,
    "lora_target": "all",
    "cutoff_len": 2048,
}


def _targets(key, value, settings):
    settings.set("adapter.target_modules", "all-linear" if value == "all" else names(key, value))


_TABLE = {
    **COMMON,
    "model_name_or_path": copy("model.path", text),
    "adapter_name_or_path": copy("adapter.path", text),
    "lora_rank": copy("adapter.rank", whole),
    "lora_target": _targets,
    "use_rslora": copy("adapter.rslora", yes),
    "cutoff_len": copy("data.sequence_length", whole),
    "num_train_epochs": copy("train.epochs", real),
    "overwrite_output_dir": copy("output.overwrite", yes),
    "loraplus_lr_embedding": leave("embeddings are not adapted"),
    "optim": leave("AdamW is used"),
    "packing": packing,
    "neat_packing": leave("not needed: packed sequences never see each other"),
    "eval_dataset": leave("make a dataset file of it with shardora-prepare, and name that in data.eval"),
    "quantization_bit": leave(
        "the base is not quantized; a model that does not fit one device is cut by parallel.tensor"
    ),
    "quantization_method": leave("the base is not quantized"),
    "flash_attn": leave("not needed: attention is chosen by parallel.attention"),
    "plot_loss": leave("shardora-report makes the page"),
    "ddp_timeout": leave("the communicator has its own time-outs"),
    "max_samples": leave("shardora-prepare takes all samples; shorten the file, as with head"),
    **{key: _FILES for key in ("overwrite_cache", "preprocessing_num_workers", "tokenized_path")},
    **handled_elsewhere(
        "stage finetuning_type use_dora per_device_train_batch_size do_train gradient_accumulation_steps dataset "
        "dataset_dir val_size mask_history train_on_prompt template disable_gradient_checkpointing"
    ),
}


def to_settings(source, folder, devices, settings):
    _refuse_other_stages(source)
    method = source.get("finetuning_type", "lora")
    # There alpha defaults to twice the rank, and gradient checkpointing is on.
    rank = source.get("lora_rank") or _DEFAULTS["lora_rank"]
    given = {**_DEFAULTS, "lora_alpha": 2 * whole("lora_rank", rank)}
    given.update({key: value for key, value in source.items() if value is not None})
    given.setdefault("packing", source.get("stage") == "pt")
    given.pop("warmup_ratio" if given.get("warmup_steps") else "warmup_steps", None)
    if method == "full":
        given = {key: value for key, value in given.items() if not key.startswith(("lora", "use_rslora"))}
    convert(given, _TABLE, settings)
    if method == "full":
        settings.set("adapter.method", "full")
    else:
        adapter(settings, source.get("use_dora"))
    settings.set("train.recompute", "none" if source.get("disable_gradient_checkpointing") else "full")
    each = whole("per_device_train_batch_size", source.get("per_device_train_batch_size") or 8)
    settings.set(
        "train.global_batch",
        each * whole("gradient_accumulation_steps", source.get("gradient_accumulation_steps") or 1) * devices,
    )
    _data(source, folder, settings)


def _refuse_other_stages(source):
    stage, method = source.get("stage", "sft"), source.get("finetuning_type", "lora")
    if stage not in ("sft", "pt"):
        raise Error(f"stage is {shown(stage)}; Shardora does supervised fine-tuning: expected sft or pt")
    if method not in ("lora", "full"):
        raise Error(f"finetuning_type is {shown(method)}, expected lora or full")


def _data(source, folder, settings):
    """One command a data set, from dataset_info.json where it can be found."""
    settings.set("data.train", "train.safetensors")
    if source.get("template"):
        settings.note(
            "template", "the tokenizer's own chat template is used; --prompt FILE of shardora-prepare gives another"
        )
    named = names("dataset", source.get("dataset") or ["DATASET"]).split(",")
    info = _dataset_info(source, folder)
    outputs = ["train.safetensors"] if len(named) == 1 else [f"{name}.safetensors" for name in named]
    for name, output in zip(named, outputs):
        words = ["--tokenizer", str(source.get("model_name_or_path", "MODEL"))]
        words += _source_of(name, info.get(name), source, folder, settings) + ["--output", output]
        settings.prepare(words + _rules(source, settings))
    settings.set("data.train", ",".join(outputs))
    if source.get("val_size"):
        settings.set("data.eval", evaluation_parts(outputs))


def _dataset_info(source, folder):
    path = os.path.join(folder, str(source.get("dataset_dir", "data")), "dataset_info.json")
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file)
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def _source_of(name, info, source, folder, settings):
    form = "text" if source.get("stage") == "pt" else "instruction"
    if not isinstance(info, dict) or "file_name" not in info:
        settings.note(
            "dataset", f"{name} is not described by a file in dataset_info.json; give shardora-prepare its file"
        )
        return ["--input", f"{name}.json", "--format", form]
    words = ["--input", os.path.join(folder, str(source.get("dataset_dir", "data")), info["file_name"])]
    columns = info.get("columns", {})
    if info.get("formatting") == "sharegpt":
        return words + ["--format", "chat"] + _fields({"messages": columns.get("messages")}, {"conversations"})
    theirs = {
        "instruction": columns.get("prompt"),
        "input": columns.get("query"),
        "output": columns.get("response"),
        "system": columns.get("system"),
    }
    if form == "text":
        return words + ["--format", "text"] + _fields({"text": columns.get("prompt")}, {"text"})
    return words + ["--format", form] + _fields(theirs, set(theirs))


def _fields(theirs, usual):
    words = []
    for ours, name in theirs.items():
        if name and name != ours and name not in usual:
            words += ["--field", f"{ours}={name}"]
    return words


def _rules(source, settings):
    words = ["--sequence-length", str(source.get("cutoff_len") or _DEFAULTS["cutoff_len"])]
    words += ["--overlong", "split" if source.get("stage") == "pt" else "truncate"]
    if source.get("mask_history"):
        words += ["--train-on", "last"]
    if source.get("train_on_prompt"):
        words += ["--train-on", "all"]
    return words + held_out("val_size", source.get("val_size"), settings)
