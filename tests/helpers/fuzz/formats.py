"""The formats that are read: small files of each, how they are edited, and who reads them."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import h5py
import numpy as np
import torch
from torch import nn

from tandem_hw.conformance import oracle
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import TandemError
from tandem_hw.export import net_file
from tandem_hw.export.files import read_network
from tandem_hw.export.freezing import freeze
from tandem_hw.export.hdf5_tree import read_tree
from tandem_hw.export.net_file import write_net
from tandem_hw.export.nir_import import from_nir
from tandem_hw.export.nir_writer import write_nir
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.run_files import LAST_NAME
from tandem_hw.training.warm_start import load_parameters, load_tandem_parameters
from tests.helpers import trainings
from tests.helpers.fuzz.damage import edit_hdf5, edit_npz, edit_torch
from tests.helpers.networks import (
    random_inputs,
    small_file_network,
    small_graph_network,
    small_image_network,
    small_network,
)
from tests.helpers.netx_files import write_netx

#: Synapses times steps up to which a network that was read is run beside the oracle.
_RUN_MAX: Final = 50_000
_SHAPE: Final = (1, 4, 4)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: makes small files of all variants in a folder, in the same order each time.
        edit: changes a value in its place.
        read: reads a file and uses what is in it, as the program does.
    """

    write: Callable[[Path], list[Path]]
    edit: Callable[[Path, Random], None]
    read: Callable[[Path], None]


# Networks -----------------------------------------------------------------------------------------


def _networks() -> list[QuantizedNetwork]:
    waiting = TandemNetwork(_model(firing_delay=3).architecture).eval()
    return [
        replace(small_network(), meaning=OutputMeaning("classification", ("cat", "Bär"))),
        small_file_network(),
        small_graph_network(),
        small_image_network(),
        freeze(waiting),
    ]


def _write_nets(folder: Path) -> list[Path]:
    paths = []
    for index, network in enumerate(_networks()):
        paths.append(folder / f"{index}.net")
        write_net(network, paths[-1])
    return paths


def _write_nirs(folder: Path) -> list[Path]:
    paths = []
    for index, network in enumerate((small_network("zero"), small_image_network())):
        paths.append(folder / f"{index}.nir")
        write_nir(network, paths[-1], tandem_only=True)
    return paths


def _write_foreign_nirs(folder: Path) -> list[Path]:
    """Write graphs of other programs, which are imported."""
    import nir

    from tests.helpers.nir_graphs import pooled_graph

    paths = [folder / f"{kind}.nir" for kind in ("SumPool2d", "AvgPool2d")]
    for path in paths:
        nir.write(path, pooled_graph(path.stem))
    return paths


def _import_nir(path: Path) -> None:
    from tests.helpers.nir_graphs import SPEC, STEPS

    _run_network(from_nir(path, input_spec=SPEC, num_steps=STEPS, reset="zero"))


def _edit_net(path: Path, random: Random) -> None:
    """Edit a file and make its checksum anew, so that the rest of its content has to be judged."""
    edit_hdf5(path, random)
    with contextlib.suppress(TandemError):
        tree = read_tree(path, net_file.FORMAT_NAME, tuple(net_file._LAYERS_GROUP))
        digest = network_digest(net_file._read_network(tree), net_file._said_sources(tree))
        with h5py.File(path, "r+") as file:
            file.attrs["digest"] = digest


def _run_network(network: QuantizedNetwork) -> None:
    """Run a network of a moderate size, and compare it with the oracle."""
    synapses = sum(int(one.fan_out.sum()) for layer in network for one in layer.synapses)
    if synapses * network.num_steps > _RUN_MAX:
        return
    inputs = random_inputs(network, samples=1)
    found, expected = ReferenceBackend().run(network, inputs), oracle.record(network, inputs)
    np.testing.assert_array_equal(found.output, expected.output)
    for name, counts in expected.counts.items():
        np.testing.assert_array_equal(found.counts[name], counts, err_msg=name)


def _read_network(path: Path) -> None:
    _run_network(read_network(path))


# Checkpoints and trainings ------------------------------------------------------------------------


def _ordinary() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, (1, 2), padding=1, bias=False),
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.9),
        nn.ReLU(),
        nn.Dropout2d(0.25),
        nn.Flatten(),
        nn.Linear(4 * 4 * 2, 3),
    )


class _EveryKind(nn.Module):
    """A network with layers of every kind, a skip, joined layers and a ceiling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.second, self.cut = nn.Conv2d(2, 2, 3, padding=1), nn.ReLU6()
        self.third = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.wide = nn.Sequential(
            nn.ConvTranspose2d(2, 2, 3, 2, padding=1, output_padding=1), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.last = nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.first(images)
        second = self.cut(self.second(first) + first)
        third = self.third(torch.cat([first, second], 1))
        joined = [self.wide(third).flatten(1), third.flatten(1)]
        result: torch.Tensor = self.last(torch.cat(joined, 1))
        return result


def _every_kind() -> TandemNetwork:
    torch.manual_seed(2)
    return convert(
        _EveryKind(),
        input_shape=_SHAPE,
        num_steps=3,
        weight_bits={"conv2": 4},
        firing_delay="phased",
        thresholds_per_channel=True,
    )


def _model(firing_delay: int) -> TandemNetwork:
    torch.manual_seed(2)
    options = {"activation_max": 0.3, "firing_delay": firing_delay}
    return convert(_ordinary(), input_shape=_SHAPE, num_steps=4, **options)  # type: ignore[arg-type]


def _write_checkpoints(folder: Path) -> list[Path]:
    paths = []
    for delay in (0, 1):
        paths.append(folder / f"{delay}.pt")
        metrics = [{"epoch": 1, "loss": 0.25}]
        save_checkpoint(Checkpoint(_model(firing_delay=delay), "digits", metrics), paths[-1])
    paths.append(folder / "kinds.pt")
    save_checkpoint(Checkpoint(_every_kind(), "digits"), paths[-1])
    return paths


def _read_checkpoint(path: Path) -> None:
    model = load_checkpoint(path).model
    load_tandem_parameters(TandemNetwork(model.architecture), path)
    network = freeze(model)
    _run_network(network)
    if math.prod(network.sample_shape) < _RUN_MAX:
        inputs = random_inputs(network, samples=1)
        expected = ReferenceBackend().run(network, inputs).output
        recorded = model.record(torch.from_numpy(inputs))
        assert recorded.potential is not None or network.readout == "count"
        last = recorded.counts.get(network.layers[-1].name, recorded.potential)
        assert last is not None
        np.testing.assert_array_equal(last.flatten(1).numpy(), expected)


def _write_parameters(folder: Path) -> list[Path]:
    paths = [folder / "zipped.pt", folder / "old.pt"]
    torch.manual_seed(3)
    torch.save(_ordinary().state_dict(), paths[0])
    torch.save({"state_dict": _ordinary().state_dict()}, paths[1])
    return paths


def _read_parameters(path: Path) -> None:
    network = _ordinary()
    load_parameters(network, path)
    assert all(value.isfinite().all() for value in network.state_dict().values())


#: Trainings that are broken off, by the names of their files.
_TRAININGS: Final = {
    "adam.pt": replace(trainings.NEW, epochs=2),
    "sgd.pt": replace(
        trainings.NEW, epochs=2, optimizer="sgd", ema=0.9, learning_rate_schedule="one-cycle"
    ),
}


class _BrokenOff(BaseException):
    """Ends a training after an epoch."""


def _break_off(_epoch: object) -> None:
    raise _BrokenOff


def _write_trainings(folder: Path) -> list[Path]:
    for name, options in _TRAININGS.items():
        run = folder / f"{name}.run"
        with contextlib.suppress(_BrokenOff):
            trainings.run(run, options, epoch_done=_break_off)
        shutil.copy(run / LAST_NAME, folder / name)
    return [folder / name for name in _TRAININGS]


def _resume(path: Path) -> None:
    folder = path.with_suffix(".run")
    folder.mkdir()
    shutil.copy(path, folder / LAST_NAME)
    summary = trainings.run(folder, _TRAININGS[path.name], resume=True)
    assert all(math.isfinite(epoch["loss"]) for epoch in summary["epochs"])
    assert load_checkpoint(folder / LAST_NAME).metrics == summary["epochs"]


# Data ---------------------------------------------------------------------------------------------


def _write_images(folder: Path) -> list[Path]:
    values = np.random.default_rng(4)
    paths = [folder / "bytes.npz", folder / "floats.npz", folder / "targets.npz"]
    x, y = values.integers(0, 256, (6, 1, 6, 6)).astype(np.uint8), np.arange(6) % 3
    np.savez(paths[0], x_train=x, y_train=y, x_test=x, y_test=y)
    rows = x.reshape(6, -1) / np.float32(255)
    np.savez_compressed(paths[1], x_train=rows, y_train=y, x_test=rows, y_test=y)
    real = values.standard_normal((6, 2)).astype(np.float32)
    np.savez(paths[2], x_train=rows, y_train=real, x_test=rows, y_test=real)
    return paths


def _write_events(folder: Path) -> list[Path]:
    values = np.random.default_rng(5)
    paths = [folder / "binned.npz", folder / "recorded.npz"]
    labels = {"y_train": np.arange(4) % 2, "y_test": np.arange(4) % 2}
    counts = values.integers(0, 4, (4, 4, 2, 3, 3)).astype(np.uint8)
    np.savez(paths[0], x_train=counts, x_test=counts, **labels)
    fields = [("sample", "i4"), ("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")]
    events = np.zeros(30, fields)
    limits = {"sample": 4, "x": 3, "y": 3, "t": 1000, "p": 2}
    for name, limit in limits.items():
        events[name] = values.integers(0, limit, len(events))
    parts = {"events_train": events, "events_test": events}
    np.savez(paths[1], sensor_size=np.array([3, 3, 2]), **parts, **labels)
    return paths


def _use(dataset: Dataset) -> None:
    spec = InputSpec(dataset.shape, 4, 1 / 15, dataset.default_encoding("subtract"))
    integers = dataset.integers(dataset.x_test[:2], spec)
    assert integers.dtype == np.uint8
    assert integers.max(initial=0) <= spec.largest
    assert len(dataset.y_test) == len(dataset.x_test)


def _read_images(path: Path) -> None:
    _use(load_dataset(f"npz:{path}"))


def _read_events(path: Path) -> None:
    _use(load_dataset(f"events:{path}", num_steps=4, input_bits=4))


FORMATS: Final[dict[str, Format]] = {
    "net": Format(_write_nets, _edit_net, _read_network),
    "netx": Format(lambda folder: [write_netx(folder / "foreign.net")], edit_hdf5, _read_network),
    "nir": Format(_write_nirs, edit_hdf5, _read_network),
    "foreign_nir": Format(_write_foreign_nirs, edit_hdf5, _import_nir),
    "checkpoint": Format(_write_checkpoints, edit_torch, _read_checkpoint),
    "parameters": Format(_write_parameters, edit_torch, _read_parameters),
    "training": Format(_write_trainings, edit_torch, _resume),
    "images": Format(_write_images, edit_npz, _read_images),
    "events": Format(_write_events, edit_npz, _read_events),
}
