"""One line for every bad input: what, where, what was expected, what to do; and the exit status of its kind."""

import argparse

USAGE, BROKEN_INPUT, UNAVAILABLE, INTERNAL, OUT_OF_MEMORY, OUTPUT, INPUT_OUTPUT = 64, 65, 69, 70, 71, 73, 74


class Error(Exception):
    def __init__(self, text, status=BROKEN_INPUT):
        super().__init__(text, status)  # both, so that it travels between processes
        self.text, self.status = text, status


class Arguments(argparse.ArgumentParser):
    """A parser whose complaint is one line, and whose help is the module's text as it stands."""

    def __init__(self, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message):
        raise Error(f"{message}; see --help", USAGE)


def one_line(text, most=300):
    """Other people's messages, without line breaks and control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(value, most=60):
    """A value of a file, as it may stand in a message."""
    return one_line(repr(value), most)
