"""Axolotl's keys."""

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
    lowest_share,
    names,
    optimizer,
    packing,
    real,
    schedule,
    text,
    whole,
    yes,
)
from shardora.errors import Error, shown

MARKS = {"base_model", "datasets", "sequence_len", "micro_batch_size", "num_epochs", "lora_r", "lora_target_linear"}
_QUANTIZED = leave("the base is not quantized; a model that does not fit one device is cut by parallel.tensor")
_PERIODS = leave("a number of times an epoch is not there; give steps: train.eval_every, output.checkpoint_every")
_NOT_NEEDED = leave("not needed: nothing is padded")
_DEFAULTS = {"num_epochs": 1, "lr_scheduler": "cosine", "sequence_len": 512}
_FORMS = {
    "alpaca": "instruction",
    "sharegpt": "chat",
    "chat_template": "chat",
    "completion": "text",
    "pretrain": "text",
}


def _layers(key, value, settings):
    listed = value if isinstance(value, list) else [value]
    settings.set("adapter.layers", ",".join(str(whole(key, layer)) for layer in listed))


_TABLE = {
    **COMMON,
    "base_model": copy("model.path", text),
    "lora_model_dir": copy("adapter.path", text),
    "lora_r": copy("adapter.rank", whole),
    "lora_target_modules": copy("adapter.target_modules", names),
    "peft_use_rslora": copy("adapter.rslora", yes),
    "lora_layers_to_transform": _layers,
    "peft_layers_to_transform": _layers,
    "sequence_len": copy("data.sequence_length", whole),
    "num_epochs": copy("train.epochs", real),
    "lr_scheduler": schedule,
    "optimizer": optimizer,
    "early_stopping_patience": copy("train.early_stopping", whole),
    "tensor_parallel_size": copy("parallel.tensor", whole),
    "load_in_4bit": _QUANTIZED,
    "load_in_8bit": _QUANTIZED,
    "evals_per_epoch": _PERIODS,
    "saves_per_epoch": _PERIODS,
    "sample_packing": packing,
    "cosine_min_lr_ratio": lowest_share,
    "eval_sample_packing": _NOT_NEEDED,
    "pad_to_sequence_len": _NOT_NEEDED,
    "chat_template": leave("the tokenizer's own is used; --prompt FILE of shardora-prepare gives another"),
    "lora_modules_to_save": leave("only adapters are trained beside a frozen base"),
    "flash_attention": leave("not needed: attention is chosen by parallel.attention"),
    "tf32": leave("not needed"),
    "fsdp_config": leave("not needed"),
    "dataset_prepared_path": leave("the dataset file of shardora-prepare takes its place"),
    "wandb_project": leave("shardora-wandb sends metrics.jsonl there"),
    **handled_elsewhere(
        "adapter peft_use_dora lora_target_linear micro_batch_size datasets gradient_accumulation_steps "
        "batch_size val_set_size train_on_inputs model_type tokenizer_type rl"
    ),
}


def to_settings(source, folder, devices, settings):
    method = source.get("adapter") or "full"
    if source.get("rl"):
        raise Error(f"rl is {shown(source['rl'])}; Shardora does supervised fine-tuning: take the key out")
    if method not in ("lora", "qlora", "full"):
        raise Error(f"adapter is {shown(method)}, expected lora, qlora, or nothing for all weights")
    given = {**_DEFAULTS, **{key: value for key, value in source.items() if value is not None}}
    if "warmup_steps" in given:
        given.pop("warmup_ratio", None)
    if method == "full":
        given = {key: value for key, value in given.items() if not key.startswith(("lora", "peft"))}
    if not {"warmup_steps", "warmup_ratio"} & set(given):
        _default_warmup(given, settings)
    convert(given, _TABLE, settings)
    _method(source, method, settings)
    each = whole("micro_batch_size", source.get("micro_batch_size") or 1)
    accumulated = (
        source.get("gradient_accumulation_steps") or whole("batch_size", source.get("batch_size") or each) // each
    )
    settings.set("train.global_batch", each * whole("gradient_accumulation_steps", accumulated) * devices)
    _data(given, settings)


def _default_warmup(given, settings):
    """3 % of the steps, rounded down, at most 100; one step becomes two."""
    steps = whole("max_steps", given.get("max_steps") or 0)
    if steps > 0:
        found = min(3 * steps // 100, 100)
        given["warmup_steps"] = 2 if found == 1 else found
    else:
        given["warmup_steps"] = 0.03
        settings.note(
            "warmup_steps", "Axolotl warms up for 3 % of the steps, at most 100: a number of steps from 3,334 on"
        )


def _method(source, method, settings):
    if method == "full":
        settings.set("adapter.method", "full")
        return
    adapter(settings, source.get("peft_use_dora"))
    for key, ours in (("lora_r", "rank"), ("lora_alpha", "alpha")):
        if source.get(key) is None:
            settings.note(key, f"not in the file; the program's default of adapter.{ours} is taken")
    if not source.get("lora_target_modules") and not source.get("lora_target_linear"):
        settings.note("lora_target_modules", "not in the file; all linear modules are taken")
    if source.get("lora_target_linear"):
        settings.set("adapter.target_modules", "all-linear")
    if method == "qlora":
        settings.note("adapter", "qlora: the base is not quantized; its adapter is trained beside full weights")


def _data(source, settings):
    datasets = source.get("datasets") or []
    if not isinstance(datasets, list) or not all(isinstance(one, dict) for one in datasets):
        raise Error(f"datasets is {shown(datasets)}, expected a list with a path and a type each")
    outputs = (
        ["train.safetensors"] if len(datasets) < 2 else [f"train{k + 1}.safetensors" for k in range(len(datasets))]
    )
    for one, output in zip(datasets, outputs):
        words = ["--tokenizer", str(source.get("base_model", "MODEL")), *_source_of(one, settings), "--output", output]
        settings.prepare(words + _rules(source, settings, one))
    settings.set("data.train", ",".join(outputs))
    if source.get("val_set_size"):
        settings.set("data.eval", evaluation_parts(outputs))


def _form(one):
    kind = one.get("type")
    return _FORMS.get(kind.partition(".")[0]) if isinstance(kind, str) else None


def _source_of(one, settings):
    path, kind = str(one.get("data_files") or one.get("path", "FILE")), one.get("type")
    form = _form(one)
    if not os.path.isfile(path):
        settings.note("datasets", f"{path} is no file here; download the data and name its file")
    if form is None:
        settings.note("datasets", f"type {shown(kind)} of {path} is not there; instruction is taken, see --field")
    words = ["--input", path, "--format", form or "instruction"]
    for theirs, ours in (("field", "text"), ("field_messages", "messages")):
        if one.get(theirs) and (ours == "text") == (form == "text"):
            words += ["--field", f"{ours}={one[theirs]}"]
    for key in sorted(set(one) - {"path", "type", "data_files", "field", "field_messages", "ds_type"}):
        settings.note(f"datasets.{key}", "not known here")
    return words


def _rules(source, settings, one):
    words = ["--sequence-length", str(source["sequence_len"])] if source.get("sequence_len") else []
    words += ["--overlong", "split" if _form(one) == "text" else "drop"]  # as Axolotl does
    if source.get("train_on_inputs") and _form(one) != "text":
        words += ["--train-on", "all"]
    return words + held_out("val_set_size", source.get("val_set_size"), settings)
