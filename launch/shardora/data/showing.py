"""One decoded sequence with its mask: targets in colour on a terminal, in brackets elsewhere."""

import sys

_MOST = 1500  # characters


def sequence(encoder, tokens, mask, colour=None):
    colour = sys.stdout.isatty() if colour is None else colour
    on, off = ("\033[32m", "\033[0m") if colour else ("⟦", "⟧")
    text, begin, before = "", 0, ""
    while begin < len(tokens):
        end = begin
        while end < len(tokens) and mask[end] == mask[begin]:
            end += 1
        # By what it adds to the text before: a tokenizer may treat a text's first blank in its own way.
        now = encoder.decode(tokens[:end])
        piece = _harmless(now[len(before) :])
        text += f"{on}{piece}{off}" if mask[begin] else piece
        begin, before = end, now
    return _shortened(text, off if colour else "")


def _harmless(text):
    """What a user's data says must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _shortened(text, end):
    if len(text) <= _MOST:
        return text
    half = _MOST // 2
    return f"{text[:half]}{end} … {len(text) - 2 * half} characters left out … {text[-half:]}{end}"
