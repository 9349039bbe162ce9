"""What the pages for the reader name is there: keys, files, build folders."""

import json
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "launch" / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.glob("*.md") if page.name != "keys.md")]
NO_KEYS = {"safetensors", "jsonl", "json", "cfg", "py", "sh", "md", "eval"}  # ends of files: train.eval.safetensors


def keys_of_the_program():
    """section.key of every row of keys.md, which the program itself prints."""
    keys, section = set(), None
    for line in (DOCS / "keys.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif section and (row := re.match(r"\| `(\w+)` \|", line)):
            keys.add(f"{section}.{row[1]}")
    return keys


def unknown_keys(text, known):
    text = re.sub(r"unknown key '[^']*'", "", text)  # a message that is quoted
    sections = "|".join(sorted({key.partition(".")[0] for key in known}))
    named = re.findall(rf"(?<![\w./-])(?:--)?((?:{sections})\.([a-z]\w*))", text)
    is_file = {key for key, name in named if name in NO_KEYS and key not in known}
    return sorted({key for key, _ in named} - known - is_file)


class Docs(unittest.TestCase):
    def test_every_key_that_a_page_names_exists(self):
        known = keys_of_the_program()
        self.assertGreater(len(known), 80)
        for page in PAGES:
            self.assertEqual(unknown_keys(page.read_text("utf-8"), known), [], page)

    def test_a_key_that_does_not_exist_is_found(self):
        known = keys_of_the_program()
        text = "`train.warmup_ratio` --adapter.r=3 data.train train.safetensors train.eval.safetensors run/adapter.path"
        self.assertEqual(unknown_keys(text, known), ["adapter.r", "train.warmup_ratio"])

    def test_the_way_from_peft_names_each_key_of_adapter_and_optimizer(self):
        page = (DOCS / "from_peft.md").read_text("utf-8")
        for key in keys_of_the_program():
            if key.startswith("adapter.") or key in ("train.global_batch", "train.learning_rate", "train.schedule"):
                self.assertIn(f"`{key}`", page)

    def test_links_lead_to_files(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")

    def test_every_page_is_reached_from_the_readme(self):
        for page in DOCS.glob("*.md"):
            self.assertIn(f"](launch/docs/{page.name})", (ROOT / "README.md").read_text("utf-8"))

    def test_programs_are_run_from_a_presets_folder(self):
        presets = json.loads((ROOT / "CMakePresets.json").read_text("utf-8"))["configurePresets"]
        texts = [*PAGES, ROOT / "launch" / "quickstart.sh", *(ROOT / "configs").glob("*.cfg")]
        for path in texts:
            for folder in re.findall(r"build/([\w-]+)/shardora\b", path.read_text("utf-8")):
                self.assertIn(folder, [preset["name"] for preset in presets], path)


if __name__ == "__main__":
    unittest.main()
