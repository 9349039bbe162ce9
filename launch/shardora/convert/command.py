"""Makes a Shardora config file of a LLaMA-Factory or Axolotl YAML file.

    shardora-convert train_lora.yaml --output train.cfg

What means the same is carried over, defaults of the other tool included; every other key is named on standard error
with the reason. The commands that make the dataset files stand at the top of the config.
"""

import os
import sys

from shardora.atomic_file import write_text
from shardora.convert import axolotl, llama_factory
from shardora.convert.settings import Settings
from shardora.errors import USAGE, Arguments, Error, one_line, shown


def parser():
    arguments = Arguments(prog="shardora-convert", description=__doc__)
    arguments.add_argument("source", metavar="FILE", help="the YAML file")
    arguments.add_argument("--output", metavar="FILE", help="the config file (standard output)")
    arguments.add_argument("--from", dest="tool", choices=("llama-factory", "axolotl"), help="(by its keys)")
    arguments.add_argument(
        "--devices", type=int, default=1, metavar="N", help="how many the file was for: a step's batch is over all (1)"
    )
    return arguments


def read(path):
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            source = yaml.safe_load(file)
    except FileNotFoundError:
        raise Error(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise Error(f"{path}: not UTF-8") from None
    except yaml.YAMLError as problem:
        raise Error(f"{path}: not YAML: {one_line(problem)}") from None
    if not isinstance(source, dict) or not all(isinstance(key, str) for key in source):
        raise Error(f"{path}: {shown(source)}, expected keys with values")
    return source


def tool_of(source, asked, path):
    """(name, its module)"""
    tools = {"llama-factory": llama_factory, "axolotl": axolotl}
    if asked:
        return asked, tools[asked]
    found = {name: len(tool.MARKS & set(source)) for name, tool in tools.items()}
    best = max(found, key=found.get)
    if found[best] == 0 or len(set(found.values())) == 1:
        raise Error(f"{path}: its keys are those of neither LLaMA-Factory nor Axolotl; give --from")
    return best, tools[best]


def main(arguments):
    options = parser().parse_args(arguments)
    if options.devices < 1:
        raise Error(f"--devices is {options.devices}, expected 1 or more", USAGE)
    source, settings = read(options.source), Settings()
    name, tool = tool_of(source, options.tool, options.source)
    try:
        tool.to_settings(source, os.path.dirname(options.source), options.devices, settings)
    except Error as refusal:
        raise Error(f"{options.source}: {refusal.text}", refusal.status) from None
    for key in ("model.path", "output.dir"):
        if key not in settings.values:
            settings.note(key, "not in the file; give it as a flag")
    path = settings.values.get("model.path", "")
    if path and not os.path.isdir(path):
        settings.note("model.path", f"{path} is no folder here; download the model and name its folder")
    text = settings.text([f"From {os.path.basename(options.source)} of {name}, by shardora-convert."])
    if options.output:
        write_text(options.output, text)
    else:
        print(text, end="")
    for note in settings.notes:
        print(f"shardora-convert: {one_line(note)}", file=sys.stderr)
