"""A data set of images in a file, and small networks for it, ordinary and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.zoo.models import build

#: Shape of the images, and how many are in the test part.
SHAPE, SAMPLES = (1, 6, 6), 24


def write_data(path: Path) -> None:
    """Write images of 6x6 pixels in which one of three pairs of rows is bright."""
    random = np.random.default_rng(0)
    labels = np.arange(96 + SAMPLES) % 3
    images = random.integers(0, 90, (len(labels), 6, 6), dtype=np.uint8)
    for row in range(6):
        images[labels == row // 2, row] += 140
    parts = {"train": slice(SAMPLES, None), "test": slice(SAMPLES)}
    arrays: dict[str, npt.NDArray[np.integer[Any]]]
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    arrays |= {f"y_{name}": labels[part] for name, part in parts.items()}
    np.savez(path, **arrays)


def trained_mlp(path: Path) -> nn.Sequential:
    """Return the zoo's mlp after 60 steps of plain PyTorch on all images of such a file."""
    data = load_dataset(f"npz:{path}")
    torch.manual_seed(4)
    network = build("mlp", SHAPE, 3)
    images, labels = torch.from_numpy(data.x_train).float() / 255, torch.from_numpy(data.y_train)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network


def save_model(path: Path, seed: int) -> TandemNetwork:
    """Write a checkpoint of the zoo's mlp, converted and never trained; return the network."""
    torch.manual_seed(seed)
    model = convert(build("mlp", SHAPE, 3), input_shape=SHAPE, num_steps=4).eval()
    save_checkpoint(Checkpoint(model), path)
    return model
