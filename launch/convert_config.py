#!/usr/bin/env python3
"""Makes a Shardora config file of a LLaMA-Factory or Axolotl YAML file.

    convert_config.py train_lora.yaml --output train.cfg

What means the same is carried over, defaults of the other tool included; every other key is named on standard error
with the reason. The commands that make the dataset files stand at the top of the config.
"""

import argparse
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(_HERE, "convert"), os.path.join(_HERE, "common")]

from refusal import USAGE, Arguments, Refusal, one_line, run, shown  # noqa: E402


def parser():
    arguments = Arguments(
        prog="convert_config.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        raise Refusal(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: not UTF-8") from None
    except yaml.YAMLError as problem:
        raise Refusal(f"{path}: not YAML: {one_line(problem)}") from None
    if not isinstance(source, dict) or not all(isinstance(key, str) for key in source):
        raise Refusal(f"{path}: {shown(source)}, expected keys with values")
    return source


def tool_of(source, asked, path):
    """(name, its module)"""
    import axolotl
    import llama_factory

    tools = {"llama-factory": llama_factory, "axolotl": axolotl}
    if asked:
        return asked, tools[asked]
    found = {name: len(tool.MARKS & set(source)) for name, tool in tools.items()}
    best = max(found, key=found.get)
    if found[best] == 0 or len(set(found.values())) == 1:
        raise Refusal(f"{path}: its keys tell of neither LLaMA-Factory nor Axolotl; say which with --from")
    return best, tools[best]


def main(arguments):
    from settings import Settings
    from whole_file import write_text

    options = parser().parse_args(arguments)
    if options.devices < 1:
        raise Refusal(f"--devices is {options.devices}, expected 1 or more", USAGE)
    source, settings = read(options.source), Settings()
    name, tool = tool_of(source, options.tool, options.source)
    try:
        tool.to_settings(source, os.path.dirname(options.source), options.devices, settings)
    except Refusal as refusal:
        raise Refusal(f"{options.source}: {refusal.text}", refusal.status) from None
    for key in ("model.path", "output.dir"):
        if key not in settings.values:
            settings.note(key, "the file does not say it; give it as a flag")
    path = settings.values.get("model.path", "")
    if path and not os.path.isdir(path):
        settings.note("model.path", f"{path} is no folder here; download the model and name its folder")
    text = settings.text([f"From {os.path.basename(options.source)} of {name}, by launch/convert_config.py."])
    if options.output:
        write_text(options.output, text)
    else:
        print(text, end="")
    for note in settings.notes:
        print(f"convert_config.py: {one_line(note)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run("convert_config.py", main, sys.argv[1:]))
