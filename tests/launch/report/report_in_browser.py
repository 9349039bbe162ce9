#!/usr/bin/env python3
"""The report in a real browser: every plot is drawn, nothing is fetched, the console stays silent, nothing sticks out
of the page; light and dark, wide and narrow, with every x axis.

    report_in_browser.py [--pictures FOLDER] [TEST…]    keeps screenshots in the folder

Exit status 77, skipped, where Chromium or a Python package is missing.
"""

import json
import pathlib
import sys
import tempfile
import unittest

import chromium
import made_run

ABSENT = made_run.needs("numpy", "plotly", "safetensors", "jinja2") or (
    None if chromium.find() else "no Chromium is installed: apt-get install chromium"
)
DRAWN = """[...document.querySelectorAll('.plot')].map(plot => ({
  id: plot.id, drawings: plot.querySelectorAll('.main-svg').length,
  marks: plot.querySelectorAll('.scatterlayer .trace path, .barlayer path, .heatmaplayer image').length,
  ticks: plot.querySelectorAll('.xtick text').length && plot.querySelectorAll('.ytick text').length,
  colour: getComputedStyle(plot.querySelector('.xtick text')).fill}))"""
# Pairs of tick labels, or legend entries, of one plot that lie over each other.
OVERLAPS = """[...document.querySelectorAll('.plot')].flatMap(plot =>
  ['.xtick text', '.ytick text', '.legendtext'].flatMap(kind => {
    const boxes = [...plot.querySelectorAll(kind)].map(text => [text.textContent, text.getBoundingClientRect()]);
    const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
    return boxes.flatMap(([one, a], k) => boxes.slice(k + 1).filter(([, b]) => over(a, b))
      .map(([other]) => `${plot.id}: ${one} | ${other}`));
  }))"""
CHOOSE = """(() => { const box = document.getElementById('%s'); box.value = '%s';
  box.dispatchEvent(new Event('change')); })()"""
SETTLED = "new Promise(done => setTimeout(done, 300))"


@unittest.skipIf(ABSENT, ABSENT)
class InBrowser(unittest.TestCase):
    pictures = None

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.browser = chromium.Browser()
        cls.addClassCleanup(cls.browser.close)
        import drift_test

        run = made_run.make(cls.folder / "dora", steps=2500)
        for step, scale in ((1000, 1), (2500, 2)):
            names = [f"model.layers.{k}.mlp.up_proj" for k in range(40)]
            drift_test.write_checkpoint(
                run,
                step,
                {name: [1.0] for name in names},
                {name: [1 + 0.001 * k * scale] for k, name in enumerate(names)},
            )
        steep = [made_run.step_line(step, gradient_norm=0.9 + 30 / step) for step in range(1, 901)]
        made_run.make(cls.folder / "lora", steps=900, method="lora", metrics=made_run.text_of(steep))
        cls.pages = {
            "report": cls.write(run, page=run / "report.html"),
            "lora": cls.write(cls.folder / "lora", page=cls.folder / "lora" / "report.html"),
            "comparison": cls.write("--compare", run, cls.folder / "lora", page=cls.folder / "comparison.html"),
        }

    @classmethod
    def write(cls, *arguments, page):
        done = made_run.run_script("shardora-report", *arguments, cwd=cls.folder)
        if done.returncode:
            raise AssertionError(done.stderr)
        return page

    def look(self, dark, width):
        for name, page in self.pages.items():
            with self.subTest(page=name, dark=dark, width=width):
                self.browser.problems.clear()
                self.browser.show(page, dark, width)
                self.browser.value(SETTLED)
                self.require_drawn()
                self.assertEqual(self.browser.value(OVERLAPS), [])
                self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width)
                if self.pictures:
                    self.browser.picture(self.pictures / f"{name}-{'dark' if dark else 'light'}-{width}.png")
                self.assertEqual(self.browser.problems, [])

    def require_drawn(self):
        wanted = {
            panel["id"] for panel in json.loads(self.browser.value("document.getElementById('figures').textContent"))
        }
        drawn = self.browser.value(DRAWN)
        self.assertEqual({plot["id"] for plot in drawn}, wanted)
        self.assertGreaterEqual(len(wanted), 7, wanted)
        for plot in drawn:
            self.assertGreaterEqual(plot["drawings"], 1, plot)
            self.assertGreaterEqual(plot["marks"], 1, plot)
            self.assertGreaterEqual(plot["ticks"], 2, plot)

    def test_light(self):
        self.look(dark=False, width=1400)

    def test_dark(self):
        self.look(dark=True, width=1400)

    def test_on_a_telephone(self):
        self.look(dark=False, width=420)

    def test_dark_text_is_bright_and_the_button_turns_it(self):
        self.browser.show(self.pages["report"], dark=True)
        self.browser.value(SETTLED)
        bright = self.browser.value(DRAWN)[0]["colour"]
        self.browser.value("document.getElementById('theme').click()")
        self.browser.value(SETTLED)
        colours = (bright, self.browser.value(DRAWN)[0]["colour"])
        self.assertEqual(colours, ("rgb(230, 233, 237)", "rgb(27, 31, 36)"))

    def test_every_axis_and_scale_can_be_chosen(self):
        self.browser.problems.clear()
        self.browser.show(self.pages["report"])
        last = "document.getElementById('learning_rate').data[0].x.at(-1)"
        found = [self.browser.value(last)]
        for axis in ("tokens", "hours"):
            self.browser.value(CHOOSE % ("axis", axis))
            self.browser.value(SETTLED)
            found.append(self.browser.value(last))
            self.require_drawn()
        tokens = sum(1000 + step for step in range(1, 2501))
        hours = sum(0.5 + 0.001 * (step % 5) for step in range(1, 2501)) / 3600
        self.assertEqual(found, [2500, tokens, float(f"{hours:.7g}")])
        self.browser.value(CHOOSE % ("scale", "log"))
        self.assertEqual(self.browser.value("document.getElementById('loss').layout.yaxis.type"), "log")
        self.assertEqual(self.browser.problems, [])

    def test_search_leaves_what_was_looked_for(self):
        self.browser.show(self.pages["report"])
        self.browser.value(
            "(box => { box.value = 'CLIP'; box.dispatchEvent(new Event('input')); })"
            "(document.querySelector('.search'))"
        )
        rows = "[...document.querySelectorAll('#configuration tbody tr')]"
        shown = rows + ".filter(row => row.offsetHeight).map(row => row.innerText)"
        self.assertEqual(self.browser.value(shown), ["train.clip_norm\t1"])

    def test_what_the_console_is_told_is_noticed(self):
        page = self.folder / "bad.html"
        page.write_text("<script>console.error('x'); fetch('http://localhost:9/').catch(() => 0); nothing();</script>")
        self.browser.problems.clear()
        self.browser.show(page)
        self.browser.value(SETTLED)
        self.assertGreaterEqual(len(self.browser.problems), 3, self.browser.problems)


if __name__ == "__main__":
    if ABSENT:
        sys.exit(print(f"skipped: {ABSENT}", file=sys.stderr) or 77)
    if "--pictures" in sys.argv:
        at = sys.argv.index("--pictures")
        InBrowser.pictures = pathlib.Path(sys.argv[at + 1])
        InBrowser.pictures.mkdir(parents=True, exist_ok=True)
        del sys.argv[at : at + 2]
    unittest.main()
