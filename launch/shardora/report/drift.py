"""Magnitude drift by layer and projection: the mean of abs(m / m0 - 1) over a module's outputs, from a checkpoint's
adapter (m) and its state (m0, as the run began)."""

import os
import re
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError, safe_open

from shardora.errors import Error

_MAGNITUDE = re.compile(r"(.*\blayers\.(\d+)\.(?:.*\.)?(\w+))\.lora_magnitude_vector")
_INITIAL, _ADAPTER = "initial.", "base_model.model."


@dataclass
class Drift:
    step: int
    layers: list  # layer numbers, rising
    projections: list  # names in the order of the files
    values: np.ndarray  # [layers, projections]; NaN where a layer lacks a projection
    outputs: np.ndarray  # of which each is the mean; 0 there

    def by_layer(self):
        """Over all outputs of a layer, as in evaluation lines."""
        return np.nansum(self.values * self.outputs, axis=1) / np.maximum(self.outputs.sum(axis=1), 1)


def _magnitudes(path, prefix):
    """module -> m of those tensors whose name starts with the prefix."""
    with safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if name.startswith(prefix) and _MAGNITUDE.fullmatch(name)]
        return {name[len(prefix) :]: file.get_tensor(name).astype(np.float64) for name in names}


def _mean_drift(now, initial):
    """(mean, outputs) over those that began with a magnitude; the program leaves the others out as well."""
    counted = initial != 0
    return (
        float(np.mean(np.abs(now[counted] / initial[counted] - 1))) if counted.any() else np.nan,
        int(counted.sum()),
    )


def of_checkpoint(folder, step):
    """None where the checkpoint has no magnitudes (LoRA, all weights), or has been removed meanwhile."""
    state = os.path.join(folder, "state.safetensors")
    try:
        initial = _magnitudes(state, _INITIAL)
        if not initial:
            return None
        now = _magnitudes(os.path.join(folder, "adapter", "adapter_model.safetensors"), _ADAPTER)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as problem:
        raise Error(f"{folder}: {problem}, expected a whole checkpoint; remove it") from None
    if any(name not in now or now[name].shape != value.shape for name, value in initial.items()):
        raise Error(
            f"{folder}: adapter and {os.path.basename(state)} have different magnitudes, expected "
            "one checkpoint's; remove it"
        )
    return _table(step, {name: _mean_drift(now[name], value) for name, value in initial.items()})


def _table(step, drifts):
    found = {name: _MAGNITUDE.fullmatch(name) for name in drifts}
    layers = sorted({int(match[2]) for match in found.values()})
    projections = _in_reading_order({match[3] for match in found.values()})
    values = np.full((len(layers), len(projections)), np.nan)
    outputs = np.zeros(values.shape)
    for name, match in found.items():
        place = layers.index(int(match[2])), projections.index(match[3])
        values[place], outputs[place] = drifts[name]
    return Drift(step, layers, projections, values, outputs)


def _in_reading_order(names):
    known = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return [name for name in known if name in names] + sorted(names - set(known))


def of_run(run):
    """The drift in each checkpoint of the run, oldest first."""
    folders = {step: os.path.join(run.folder, "checkpoints", f"step-{step}") for step in run.checkpoints}
    found = [of_checkpoint(folder, step) for step, folder in folders.items()]
    return [drift for drift in found if drift is not None]
