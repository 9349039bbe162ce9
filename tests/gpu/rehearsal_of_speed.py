"""rehearsal_of_speed.py BUILD: the speed part on the CPU, tiny, and without PEFT: every figure is there and finite.
How large they are says nothing here."""
import pathlib
import sys
import tempfile

import speed
from context import Context
from report import Report


def main():
    with tempfile.TemporaryDirectory() as scratch:
        context = Context(pathlib.Path(scratch), 250, pathlib.Path(sys.argv[1]), "cpu")
        report = Report(pathlib.Path(scratch) / "results.json")
        speed.peft = lambda *_: None
        speed.speed(context, report, True, None)
        broken = [row for row in report.misses() if "value" not in row]
        shares = [row for row in report.rows if row["what"].endswith("share of the floor")]
        prices = [row for row in report.rows if "over LoRA's" in row["what"]]
        if broken or len(shares) != 6 or len(prices) != 2 or not all(0 < row["value"] < 1e6 for row in shares + prices):
            sys.exit(f"{len(shares)} shares, {len(prices)} prices, {broken}")


main()
