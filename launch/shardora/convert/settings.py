"""What is shared by the tables of the two tools: settings of Shardora as they are collected, and how values are read."""

import math
import shlex

from shardora.errors import Error, shown

SECTIONS = ("model", "adapter", "data", "train", "parallel", "output")


class Settings:
    """Keys of Shardora with their values, what could not be carried over, and the commands that prepare the data."""

    def __init__(self):
        self.values, self.notes, self.commands = {}, [], []
        self.lowest_share = None  # (their key, the lowest rate over the learning rate)

    def set(self, key, value):
        self.values[key] = value

    def note(self, key, reason):
        self.notes.append(f"{key}: {reason}")

    def prepare(self, words):
        self.commands.append(shlex.join(["shardora-prepare", *words]))

    def text(self, head):
        lines = [f"# {line}" for line in head]
        if self.commands:
            lines += ["#", "# The data, once:"] + [f"#   {command}" for command in self.commands]
        for section in SECTIONS:
            found = {
                key.partition(".")[2]: value for key, value in self.values.items() if key.startswith(section + ".")
            }
            if found:
                lines += ["", f"[{section}]"] + [f"{name} = {_written(value)}" for name, value in found.items()]
        return "\n".join(lines) + "\n"


def _written(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def real(key, value):
    """A number; YAML reads 2e-4 as a text."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (TypeError, ValueError):
        raise Error(f"{key} is {shown(value)}, expected a number") from None


def whole(key, value):
    number = real(key, value)
    if number != int(number):
        raise Error(f"{key} is {shown(value)}, expected a whole number")
    return int(number)


def yes(key, value):
    if not isinstance(value, bool):
        raise Error(f"{key} is {shown(value)}, expected true or false")
    return value


def text(key, value):
    if not isinstance(value, str):
        raise Error(f"{key} is {shown(value)}, expected a text")
    if "\n" in value or "#" in value:
        raise Error(f"{key} is {shown(value)}, which a config file cannot hold")
    return value


def names(key, value):
    """A list, or a text with commas."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise Error(f"{key} is {shown(value)}, expected names")
    return ",".join(text(key, str(name)).strip() for name in listed)


def copy(to, read):
    """A key that means the same there and here."""

    def convert(key, value, settings):
        settings.set(to, read(key, value))

    return convert


def handled_elsewhere(keys):
    """Keys that are read together with those that they belong to."""
    return dict.fromkeys(keys.split(), lambda key, value, settings: None)


def held_out(key, value, settings):
    """The words for shardora-prepare that hold out a share; a number of samples there becomes one."""
    size = real(key, value or 0)
    if size >= 1:
        settings.note(key, "a number of samples is not there; 0.05 of them are held out, see --eval-fraction")
    return ["--eval-fraction", f"{size if size < 1 else 0.05:g}"] if size else []


def evaluation_parts(outputs):
    """data.eval for what is held out of these dataset files."""
    parts = [output.replace(".safetensors", ".eval.safetensors") for output in outputs]
    return parts[0] if len(parts) == 1 else ",".join(f"{part.partition('.')[0]}={part}" for part in parts)


def leave(reason):
    """A key that has no counterpart here."""

    def convert(key, value, settings):
        settings.note(key, reason)

    return convert


def schedule(key, value, settings):
    known = {"cosine": "cosine", "cosine_with_min_lr": "cosine", "linear": "linear"}
    known |= {"constant": "constant", "constant_with_warmup": "constant"}
    if value not in known:
        settings.note(key, f"{shown(value)} is not there; cosine is taken (also: linear, constant)")
    settings.set("train.schedule", known.get(value, "cosine"))


def optimizer(key, value, settings):
    if not str(value).startswith(("adamw", "OptimizerNames.ADAMW")):
        settings.note(key, f"{shown(value)} is not there; AdamW is used")


def warmup_steps(key, value, settings):
    """Below 1 a share of all steps, as here."""
    steps = real(key, value)
    if steps < 0:
        raise Error(f"{key} is {shown(value)}, expected 0 or more")
    settings.set("train.warmup_steps", steps if 0 < steps < 1 else whole(key, value))


def share_of_steps(key, value, settings):
    ratio = real(key, value)
    if not 0 <= ratio < 1:
        raise Error(f"{key} is {shown(value)}, expected from 0 to below 1")
    settings.set("train.warmup_steps", ratio)


def recompute(key, value, settings):
    settings.set("train.recompute", "full" if value in (True, "unsloth", "offload") else "none")


def steps_between(to):
    """Saving or evaluating: a number of steps; below 1, which means a share of all steps, there is nothing like it."""

    def convert(key, value, settings):
        steps = real(key, value)
        if steps < 1:
            settings.note(key, f"a share of all steps is not there; set {to} to a number of steps")
        else:
            settings.set(to, whole(key, value))

    return convert


def keep(key, value, settings):
    settings.set("output.keep", max(2, whole(key, value)))  # one could be lost while the next is written


def max_steps(key, value, settings):
    if whole(key, value) > 0:
        settings.values.pop("train.epochs", None)
        settings.set("train.steps", whole(key, value))


def scheduler_options(key, value, settings):
    given = value if isinstance(value, dict) else {str(value): None}
    for name in sorted(set(map(str, given)) - {"min_lr", "min_lr_rate"}):
        settings.note(f"{key}.{name}", "not known here")
    if given.get("min_lr") is not None:
        settings.set("train.min_learning_rate", real(f"{key}.min_lr", given["min_lr"]))
    if given.get("min_lr_rate") is not None:
        settings.lowest_share = f"{key}.min_lr_rate", real(f"{key}.min_lr_rate", given["min_lr_rate"])


def lowest_share(key, value, settings):
    settings.lowest_share = key, real(key, value)


def packing(key, value, settings):
    settings.note(
        key,
        "nothing is padded, and packed sequences never see each other; but a batch is of packs there and of sequences "
        "here: multiply train.global_batch by the sequences in a pack",
    )


COMMON = {  # transformers' own names, which both tools pass on
    "learning_rate": copy("train.learning_rate", real),
    "lr_scheduler_type": schedule,
    "lr_scheduler_kwargs": scheduler_options,
    "warmup_steps": warmup_steps,
    "warmup_ratio": share_of_steps,
    "weight_decay": copy("train.weight_decay", real),
    "adam_beta1": copy("train.beta1", real),
    "adam_beta2": copy("train.beta2", real),
    "adam_epsilon": copy("train.epsilon", real),
    "max_grad_norm": copy("train.clip_norm", real),
    "seed": copy("train.seed", whole),
    "logging_steps": copy("output.log_every", whole),
    "save_steps": steps_between("output.checkpoint_every"),
    "eval_steps": steps_between("train.eval_every"),
    "save_total_limit": keep,
    "load_best_model_at_end": copy("train.save_best", yes),
    "output_dir": copy("output.dir", text),
    "resume_from_checkpoint": leave(
        "checkpoints of other tools cannot be continued; start from an adapter by adapter.path"
    ),
    "gradient_checkpointing": recompute,
    "loraplus_lr_ratio": copy("train.b_learning_rate_ratio", real),
    "max_steps": max_steps,
    "lora_alpha": copy("adapter.alpha", real),
    "lora_dropout": copy("adapter.dropout", real),
    "bf16": leave("model.dtype = auto takes bfloat16 on GPUs and float32 on CPUs"),
    "fp16": leave("float16 is not there; model.dtype = auto takes bfloat16 on GPUs and float32 on CPUs"),
    "deepspeed": leave("not needed; parallel.tensor is the number of ranks that share a copy of the model"),
    "fsdp": leave("not needed; parallel.tensor is the number of ranks that share a copy of the model"),
    "report_to": leave("metrics.jsonl has all figures; shardora-report makes pages and TensorBoard files of it"),
}


def convert(source, table, settings):
    """Every key of the source through the table; what is not in it is named. What is off is off here, too."""
    for key, value in source.items():
        if value is None or value is False:
            continue
        if key in table:
            table[key](key, value, settings)
        else:
            settings.note(key, "not known here")
    rate = settings.values.get("train.learning_rate")
    if rate is None:
        settings.note("learning_rate", "not in the file; give it as a flag")
    if settings.lowest_share and rate is None:
        settings.note(settings.lowest_share[0], "a share of learning_rate: give train.min_learning_rate as a flag, too")
    elif settings.lowest_share:
        settings.set("train.min_learning_rate", settings.lowest_share[1] * rate)
    if "constant" in (source.get("lr_scheduler_type"), source.get("lr_scheduler")):  # which there has no warm-up
        settings.values.pop("train.warmup_steps", None)


def adapter(settings, dora):
    """DoRA, or LoRA with PEFT's dropout, which reaches the adapter's input alone."""
    settings.set("adapter.method", "dora" if dora else "lora")
    if not dora and settings.values.get("adapter.dropout"):
        settings.set("adapter.dropout_scope", "adapter")
