"""What is no network, no input and no label of a run is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import DataError, FileFormatError, NetworkError
from tandem_hw.export.net_file import write_net
from tandem_hw.export.nir_writer import write_nir
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers.recordings import LABELS, NETWORK, samples


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:3], r"labels are int64 of shape \(3,\); .* 5 samples, shape \(5,\)"),
        (np.eye(3, dtype=np.int64)[LABELS], r"labels are int64 of shape \(5, 3\); give the whole"),
        (LABELS / 1, "labels are float64 of shape"),
        (list(LABELS), "labels are a list; give a NumPy array"),
    ],
)
def test_labels_that_are_not_one_a_sample_are_refused(labels: Any, message: str) -> None:
    for backend in (ReferenceBackend(), LavaCpuBackend()):
        if backend.why_unavailable() is None:
            with pytest.raises(DataError, match=message):
                backend.run(NETWORK, samples(), labels)


def test_a_tensor_is_no_input() -> None:
    with pytest.raises(DataError, match=r"inputs are a Tensor; give a NumPy array of uint8 \(of a"):
        ReferenceBackend().run(NETWORK, torch.from_numpy(samples()))  # type: ignore[arg-type]


@pytest.mark.parametrize("reached", ["run", "verify", "write_net", "write_nir"])
def test_a_model_is_no_quantized_network(tmp_path: Path, reached: str) -> None:
    ordinary = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    for model in (ordinary, convert(ordinary, input_shape=(4,), num_steps=4)):
        name: Any = model
        calls: dict[str, Callable[[], object]] = {
            "run": lambda name=name: ReferenceBackend().run(name, samples()),
            "verify": lambda name=name: verify(
                name, samples(), LABELS, [ReferenceBackend(), LavaStockBackend()]
            ),
            "write_net": lambda name=name: write_net(name, tmp_path / "new.net"),
            "write_nir": lambda name=name: write_nir(name, tmp_path / "new.nir"),
        }
        message = f"is a {type(model).__name__}, not a quantized network; tandem_hw.freeze makes"
        with pytest.raises(NetworkError, match=message):
            calls[reached]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["new.net", "NEW.NET"])
def test_nir_does_not_get_the_name_of_a_net_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match=rf"{name}: has the name of a \.net file.*write_net"):
        write_nir(NETWORK, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
