"""What waiting before the first spike is worth: accuracy, latency and spikes by firing delay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from torch import nn

from benchmarks.int8_network import int8_accuracy
from benchmarks.networks import CHAINS, chain, three_convolutions
from benchmarks.result import finish, json_option
from benchmarks.trained import PLAIN_RELU, integers_on_test
from tandem_hw.chip.timing import default_period
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.activity import summarise, total
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.training.warm_start import load_tandem_parameters
from tandem_hw.zoo.models import build

#: The ordinary network, by its name in the tables, and the same in 8-bit integers.
RELU: Final = "ReLU"
_INT8: Final = "INT8"
_ORDINARY: Final = (RELU, _INT8)
#: A network that waits not at all, after a training in which it waited for all of the window.
_FROM_PHASED: Final = "0 from phased"
#: Bits of an input, or of a count of events: those that ``convert`` takes by itself.
_INPUT_BITS: Final = 4
_NETWORKS: Final = (*CHAINS, "three convolutions", "lenet", "resnet20")


def _network(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    if name in CHAINS:
        return chain(CHAINS[name], shape, classes)
    if name == "three convolutions":
        return three_convolutions()
    return build(name, shape, classes)


@click.command("firing-delay")
@click.option("--data", default="cifar10", show_default=True, help="Any data set with classes.")
@click.option(
    "--network", type=click.Choice(_NETWORKS), default="eight convolutions", show_default=True
)
@click.option("--num-steps", "windows", multiple=True, type=int, default=(4,), show_default=True)
@click.option(
    "--delays",
    default="ReLU,0,1,phased",
    show_default=True,
    help=f"{RELU} is the ordinary network, {_INT8} the same in 8-bit integers, and "
    f'"{_FROM_PHASED}" a network that was phased first and is trained on for half as many epochs.',
)
@click.option("--seeds", default=3, show_default=True, help="Trainings of each.")
@click.option("--first-seed", default=0, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--samples", default=10_000, show_default=True, help="To train on, at most.")
@click.option("--augmentation", default="none", show_default=True)
@click.option("--learn-thresholds", is_flag=True, help="Of the tandem networks.")
@click.option("--thresholds-per-channel", is_flag=True, help="Of the tandem networks.")
@click.option("--activation-max", type=float, help="Of the tandem networks.")
@click.option("--synop-weight", default=0.0, show_default=True, help="Of the tandem networks.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/firing-delay"))
@json_option
def command(
    data: str,
    network: str,
    windows: tuple[int, ...],
    delays: str,
    seeds: int,
    first_seed: int,
    epochs: int,
    samples: int,
    augmentation: str,
    learn_thresholds: bool,
    thresholds_per_channel: bool,
    activation_max: float | None,
    synop_weight: float,
    out: Path,
    json_path: Path | None,
) -> None:
    """Train a network with each firing delay, and test its integers on all test samples.

    Rows say the mean over the seeds and, beside it, the lowest and the highest.
    """
    rows = []
    spiking: dict[str, Any] = {
        "input_bits": _INPUT_BITS,
        "initial_potential": 0.5,
        "learn_thresholds": learn_thresholds,
        "thresholds_per_channel": thresholds_per_channel,
    }
    if activation_max is not None:
        spiking["activation_max"] = activation_max
    for delay, num_steps in _settings(delays.split(","), windows):
        dataset = load_dataset(data, num_steps=num_steps, input_bits=_INPUT_BITS)
        trainings = []
        for seed in range(first_seed, first_seed + seeds):
            options = TrainingOptions(
                epochs=epochs,
                samples=min(samples, len(dataset.y_train)),
                augmentation=augmentation,
                validation=0.0,
                seed=seed,
                schedule="ordinary" if delay in _ORDINARY else "tandem",
                synop_weight=0.0 if delay in _ORDINARY else synop_weight,
            )
            folder = out / f"{network}-{delay}-T{num_steps}-seed{seed}".replace(" ", "-")
            make = partial(_network, network, dataset.shape, dataset.classes)
            trainings.append(_trained(make, dataset, num_steps, delay, spiking, options, folder))
            click.echo(f"{network} {delay} T={num_steps} seed {seed}: {trainings[-1]}")
        names = {
            "data": Path(dataset.name.rpartition(":")[2]).stem,
            "network": network,
            "delay": delay,
        }
        rows.append(names | together(trainings))
    finish("firing-delay", rows, json_path)


def _settings(delays: Iterable[str], windows: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Yield each delay with each length of a window that it suits; the ordinary net has none."""
    lengths = list(windows)
    for delay in delays:
        for num_steps in lengths:
            if delay in _ORDINARY:
                yield delay, num_steps
                break
            if delay in ("phased", _FROM_PHASED) or int(delay) < num_steps:
                yield delay, num_steps


def _trained(
    make: Callable[[], nn.Module],
    dataset: Dataset,
    num_steps: int,
    delay: str,
    spiking: dict[str, Any],
    options: TrainingOptions,
    folder: Path,
) -> dict[str, float]:
    started = time.process_time()
    if delay == _FROM_PHASED:
        before = folder / "phased"
        _fit(make, dataset, num_steps, "phased", spiking, options, before)
        options = replace(options, epochs=max(options.epochs // 2, 1))
        _fit(make, dataset, num_steps, "0", spiking, options, folder, before / BEST_NAME)
    else:
        summary = _fit(make, dataset, num_steps, delay, spiking, options, folder)
    seconds = time.process_time() - started
    if delay in _ORDINARY:
        unknown = dict.fromkeys(("latency", "period", "spikes", "SynOps", "SynOps / MACs"), 0.0)
        found = summary["test_accuracy"]
        if delay == _INT8:
            found = int8_accuracy(load_checkpoint(folder / BEST_NAME).model, make(), dataset)
        return {"accuracy": found, "T": 0} | unknown | {"training CPU seconds": seconds}
    network, recording = integers_on_test(folder, dataset)
    assert recording.accuracy is not None  # it was given labels
    spikes = sum(float(counts.sum()) for counts in recording.counts.values())
    done = total(summarise(network, recording))
    return {
        "accuracy": recording.accuracy,
        "T": num_steps,
        "latency": network.latency,
        "period": default_period(network),
        "spikes": spikes / len(recording),
        "SynOps": done.synops_per_sample,
        "SynOps / MACs": done.synops_per_mac,
        "training CPU seconds": seconds,
    }


def _fit(
    make: Callable[[], nn.Module],
    dataset: Dataset,
    num_steps: int,
    delay: str,
    spiking: dict[str, Any],
    options: TrainingOptions,
    folder: Path,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train a network from fresh weights, or from those of a checkpoint."""
    seed_everything(options.seed)
    if delay in _ORDINARY:
        spiking = PLAIN_RELU | {"input_bits": _INPUT_BITS}
    else:
        spiking = spiking | {"firing_delay": delay if delay == "phased" else int(delay)}
    spiking = spiking | {"encoding": dataset.default_encoding("subtract")}
    model = convert(make(), input_shape=dataset.shape, num_steps=num_steps, **spiking)
    if start is not None:
        load_tandem_parameters(model, start)
    return train(model, dataset, options, folder, overwrite=True)


def together(trainings: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means over trainings, or over means of some, and the lowest and highest accuracy."""
    weights = [int(one.get("seeds", 1)) for one in trainings]
    names = [name for name in trainings[0] if name not in ("lowest", "highest", "seeds")]
    row = {
        name: sum(one[name] * weight for one, weight in zip(trainings, weights, strict=True))
        / sum(weights)
        for name in names
    }
    lowest = min(one.get("lowest", one["accuracy"]) for one in trainings)
    highest = max(one.get("highest", one["accuracy"]) for one in trainings)
    return row | {"lowest": lowest, "highest": highest, "seeds": sum(weights)}


COMMANDS = [command]
