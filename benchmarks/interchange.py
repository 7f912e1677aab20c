"""Our files in lava-dl's own ``netx.hdf5.Network``, unmodified: the spike counts on MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.images import labels_of, load_images
from benchmarks.networks import CLASSES, MNIST_SHAPE
from benchmarks.result import data_option, finish, json_option
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.zoo.models import build

#: Decays of current and voltage: none, and both.
_LEAKS = ((4096, 0), (3000, 400))


@click.command("interchange")
@data_option
@click.option("--samples", default=100, show_default=True, help="Images on netx.")
@click.option("--num-steps", default=8, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/interchange"))
@json_option
def command(data: str, samples: int, num_steps: int, out: Path, json_path: Path | None) -> None:
    """Train lenet and mlp one epoch with reset zero and run their files in netx."""
    dataset = load_images(data)
    rows = []
    for name in ("lenet", "mlp"):
        for leak in _LEAKS:
            folder = out / f"{name}-{leak[0]}-{leak[1]}"
            network = _trained(name, leak, dataset, num_steps, folder)
            write_net(network, folder / "model.net")
            images = dataset.x_test[:samples]
            inputs = quantize_inputs(images, network.input.bits, network.input.scale)
            recording = ReferenceBackend().run(network, inputs, labels_of(dataset)[:samples])
            found = _counts_on_netx(network, inputs, folder / "model.net")
            expected = list(recording.counts.values())
            pairs = list(zip(found, expected, strict=True))
            rows.append(
                {
                    "network": name,
                    "T": num_steps,
                    "iDecay": leak[0],
                    "vDecay": leak[1],
                    "images": len(inputs),
                    "spikes": sum(int(counts.sum()) for counts in expected),
                    "output spikes": int(expected[-1].sum()),
                    "different output counts": int(np.sum(pairs[-1][0] != pairs[-1][1])),
                    "different counts": sum(int(np.sum(a != b)) for a, b in pairs),
                    "accuracy": recording.accuracy,
                }
            )
    finish("interchange", rows, json_path)
    if any(row["different counts"] or not row["output spikes"] for row in rows):
        raise click.ClickException("netx differs, or a network is silent")


def _trained(
    name: str, leak: tuple[int, int], dataset: ImageDataset, num_steps: int, folder: Path
) -> QuantizedNetwork:
    options = TrainingOptions(epochs=1)
    seed_everything(options.seed)
    model = convert(
        build(name, MNIST_SHAPE, CLASSES),
        input_shape=MNIST_SHAPE,
        num_steps=num_steps,
        reset="zero",
        readout="count",
        current_decay=leak[0],
        voltage_decay=leak[1],
    )
    train(model, dataset, options, folder, overwrite=True)
    return freeze(load_checkpoint(folder / BEST_NAME).model)


def _counts_on_netx(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], path: Path
) -> list[npt.NDArray[np.int64]]:
    """Return per layer the counts [samples, *output_shape] of samples run back to back."""
    try:
        from lava.lib.dl.netx.hdf5 import Network
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg
        from lava.proc.io.sink import RingBuffer as Sink
        from lava.proc.io.source import RingBuffer as Source
    except ImportError as error:
        raise click.ClickException("lava-dl is not installed; it needs Python 3.10") from error
    period, samples = network.num_steps, len(inputs)
    # The input reaches the first layer in step 2, and each layer works one step after the last.
    loaded: Any = Network(str(path), reset_interval=period, reset_offset=1, input_message_bits=8)
    steps = samples * period + len(loaded.layers)
    frames = np.zeros((*loaded.inp.shape, steps), dtype=np.int32)
    if loaded.inp.shape != network.input.shape[::-1]:  # a dense layer takes the image flat
        inputs = inputs.reshape(samples, *loaded.inp.shape)
    frames[..., : samples * period] = np.repeat(inputs, period, axis=0).T
    Source(data=frames).s_out.connect(loaded.inp)
    sinks = [Sink(shape=layer.out.shape, buffer=steps) for layer in loaded.layers]
    for layer, sink in zip(loaded.layers, sinks, strict=True):
        layer.out.connect(sink.a_in)
    try:
        loaded.run(RunSteps(num_steps=steps), Loihi2SimCfg(select_tag="fixed_pt"))
        trains = [sink.data.get().T.astype(np.int64) for sink in sinks]
    finally:
        loaded.stop()
    windows = [train[delay:][: samples * period] for delay, train in enumerate(trains, start=1)]
    return [window.reshape(samples, period, *window.shape[1:]).sum(axis=1) for window in windows]


COMMANDS = [command]
