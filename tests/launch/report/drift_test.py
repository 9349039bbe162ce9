"""Magnitude drift by layer and projection from checkpoints, against sums done by hand."""

import json
import pathlib
import tempfile
import unittest

import made_run

ABSENT = made_run.needs("numpy", "plotly", "safetensors", "jinja2")
if not ABSENT:
    import numpy as np
    from safetensors.numpy import save_file

    from shardora.errors import Error
    from shardora.report import drift, run_folder

MODULES = {
    "model.layers.2.self_attn.q_proj": ([2.0, 4.0], [2.2, 3.0]),  # m0, m; drifts 0.1, 0.25
    "model.layers.10.self_attn.q_proj": ([1.0, 0.0], [1.5, 7.0]),  # a row of zeros tells nothing
    "model.layers.10.mlp.down_proj": ([1.0, -1.0], [1.0, -1.0]),
}


def write_checkpoint(folder, step, initial, now):
    place = folder / "checkpoints" / f"step-{step}"
    (place / "adapter").mkdir(parents=True)
    one = lambda values: np.array(values, dtype=np.float32)  # noqa: E731
    save_file(
        {f"initial.{name}.lora_magnitude_vector": one(m) for name, m in initial.items()}
        | {f"moment1.{name}.lora_A": one([0]) for name in now},
        place / "state.safetensors",
    )
    save_file(
        {f"base_model.model.{name}.lora_magnitude_vector": one(m) for name, m in now.items()}
        | {f"base_model.model.{name}.lora_A.weight": one([0]) for name in now},
        place / "adapter" / "adapter_model.safetensors",
    )
    (place / "manifest.json").write_text(json.dumps({"step": step, "world": "2 ranks, tensor 1", "files": {}}))


@unittest.skipIf(ABSENT, ABSENT)
class DriftOfCheckpoints(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = made_run.make(pathlib.Path(folder.name) / "run")
        self.initial = {name: before for name, (before, _) in MODULES.items()}
        self.now = {name: after for name, (_, after) in MODULES.items()}

    def found(self):
        return drift.of_run(run_folder.read_run(str(self.folder), 0))

    def test_mean_over_outputs_by_layer_and_projection(self):
        write_checkpoint(self.folder, 9, self.initial, self.now)
        (one,) = self.found()
        self.assertEqual((one.step, one.layers, one.projections), (9, [2, 10], ["q_proj", "down_proj"]))
        np.testing.assert_allclose(one.values, [[0.175, np.nan], [0.5, 0.0]], atol=1e-7)
        np.testing.assert_allclose(one.by_layer(), [0.175, 0.5 / 3], atol=1e-7)

    def test_checkpoints_come_by_step_and_torn_ones_do_not_count(self):
        for step in (100, 20, 3):
            write_checkpoint(self.folder, step, self.initial, self.now)
        (self.folder / "checkpoints" / "step-20" / "manifest.json").unlink()
        (self.folder / "checkpoints" / "step-7.tmp-1").mkdir()
        self.assertEqual([one.step for one in self.found()], [3, 100])

    def test_lora_has_no_drift(self):
        write_checkpoint(self.folder, 9, {}, {})
        self.assertEqual(self.found(), [])

    def test_checkpoint_that_is_removed_meanwhile_is_passed_over(self):
        write_checkpoint(self.folder, 9, self.initial, self.now)
        run = run_folder.read_run(str(self.folder), 0)
        (self.folder / "checkpoints" / "step-9" / "adapter" / "adapter_model.safetensors").unlink()
        self.assertEqual(drift.of_run(run), [])

    def test_damaged_checkpoint_is_named(self):
        write_checkpoint(self.folder, 9, self.initial, {"model.layers.2.self_attn.q_proj": [1.0]})
        with self.assertRaisesRegex(Error, "step-9: adapter and state.safetensors have different magnitudes"):
            self.found()
        (self.folder / "checkpoints" / "step-9" / "state.safetensors").write_bytes(b"nonsense")
        with self.assertRaisesRegex(Error, "step-9: .*expected a whole checkpoint"):
            self.found()

    def test_report_shows_both_tables(self):
        write_checkpoint(self.folder, 3, self.initial, self.initial)
        write_checkpoint(self.folder, 9, self.initial, self.now)
        done = made_run.run_script("shardora-report", self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        source = (self.folder / "report.html").read_text("utf-8")
        self.assertIn('"id":"drift_by_layer"', source)
        self.assertIn('"id":"drift_by_projection"', source)


if __name__ == "__main__":
    unittest.main()
