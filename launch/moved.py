#!/usr/bin/env python3
"""Stands at the paths of scripts that are console commands of the package launch/shardora now: prints the command."""
import os
import sys

COMMANDS = {
    "prepare.py": "shardora-prepare",
    "text.py": "shardora-text",
    "show.py": "shardora-show",
    "report.py": "shardora-report",
    "follow_wandb.py": "shardora-wandb",
    "convert_config.py": "shardora-convert",
    "commonsense.py": "shardora-commonsense",
    "scatter.py": "shardora-analyze scatter",
    "study.py": "shardora-analyze study",
}
name = os.path.basename(sys.argv[0])
print(f"{name}: this script is now build/venv/bin/{COMMANDS[name]}; launch/install.sh data report installs it", file=sys.stderr)
sys.exit(64)
