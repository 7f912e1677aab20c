"""A file of a network of lava-dl, as its slayer writes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

GENERATOR = np.random.default_rng(4)
CONV_WEIGHT = 2 * GENERATOR.integers(-20, 21, (4, 1, 3, 2))
CONV_BIAS = GENERATOR.integers(-20, 21, 4)
DENSE_WEIGHT = 2 * GENERATOR.integers(-20, 21, (5, 4 * 3 * 4))


def neuron(entry: h5py.Group, threshold: int, i_decay: int = 4096, v_decay: int = 0) -> None:
    """Write neurons as lava-dl's slayer does, ``type`` a text of any length."""
    group = entry.create_group("neuron")
    group["type"] = "CUBA"
    group["vThMant"], group["iDecay"], group["vDecay"] = threshold - 1, i_decay, v_decay
    group["refDelay"], group["gradedSpike"] = 1, False
    group["tauRho"] = 0.5


def kind(entry: h5py.Group, name: str) -> None:
    entry["type"] = np.array([name.encode()], dtype="S10")


def write_netx(path: Path) -> Path:
    """Write what slayer's ``export_hdf5`` writes: floats, a fifth axis, data for nobody here."""
    with h5py.File(path, "w") as file:
        file["simulation/Ts"], file["simulation/tSample"] = 1, 6
        layers = file.create_group("layer")
        entry = layers.create_group("0")
        kind(entry, "input")
        entry["shape"] = [2, 5, 5]
        neuron(entry, 30)
        entry = layers.create_group("1")
        kind(entry, "conv")
        entry["shape"], entry["inChannels"] = [4, 3, 4], 2
        entry.create_dataset(
            "weight", data=CONV_WEIGHT[..., None].astype(np.float32), compression="gzip"
        )
        entry["bias"] = CONV_BIAS.astype(np.float32)
        entry["stride"], entry["padding"], entry["dilation"], entry["groups"] = [2, 1], [1, 0], 1, 2
        neuron(entry, 41, 3000, 123)
        kind(layers.create_group("2"), "flatten")
        entry = layers.create_group("3")
        kind(entry, "dense")
        entry["shape"], entry["delay"] = [5, 1, 1], np.zeros(5, np.float32)
        entry["weight"] = DENSE_WEIGHT.astype(np.float32)
    return path
