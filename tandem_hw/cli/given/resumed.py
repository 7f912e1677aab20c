"""What ``tandem-hw train --resume`` takes from the folder of a training: all that is not given.

A network that is not named anew comes out of ``last.pt`` itself, so neither the file of a network
of the user's is needed again, nor what ``--init`` named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.given.config_file import (
    bytes_of_options,
    is_given,
    parse_toml,
    write_options,
)
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.architecture import Architecture
from tandem_hw.learning.checkpoint import Checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.per_layer.assignment import (
    layer_names,
    with_channel_thresholds,
    with_widths,
)
from tandem_hw.learning.per_layer.widths import OTHERS, common_width
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.choices import steps_of_delay
from tandem_hw.network.inputs import default_scale
from tandem_hw.plain_text import plain
from tandem_hw.training.methods.learning_rate import cosine_share
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.resuming.last_checkpoint import (
    check_same_network,
    load_last,
    state_reported,
)
from tandem_hw.training.run_files import LAST_NAME, OPTIONS_NAME


@dataclass(frozen=True)
class Resumed:
    """A training that goes on.

    Attributes:
        data: the data set.
        device: where to train.
        network: of the folder, or None where a model was named, to be built and compared.
        settings: what ``convert`` makes a named model with.
        options: how it is trained.
        remark: what is to be said before it goes on.
    """

    data: str
    device: str
    network: TandemNetwork | None
    settings: dict[str, Any]
    options: TrainingOptions
    remark: str


def resumed(context: click.Context, folder: Path, data: str | None) -> Resumed:
    """Return how the training in a folder goes on: what is given, and what is not as it was.

    Args:
        context: of ``tandem-hw train``.
        folder: of the training.
        data: the data set that was given, or None.

    Raises:
        TandemError: there is nothing to go on with, or what was given is another training's.
    """
    last = load_last(folder)
    given = {name: value for name, value in context.params.items() if is_given(context, name)}
    before = _options_of(last, folder / LAST_NAME)
    options = TrainingOptions(
        **{one.name: given.get(one.name, getattr(before, one.name)) for one in fields(before)}
    )
    options.check_same(asdict(before), folder / LAST_NAME)
    settings = _settings_of(last.model.architecture)
    wanted = {name: value for name, value in given.items() if name in settings}
    named = "model" in given
    if not named:
        found = last.model.architecture
        check_same_network(folder / LAST_NAME, found, _with(found, wanted))
    return Resumed(
        data=last.data if data is None else data,
        device=given.get("device") or _device_of(last, folder),
        network=None if named else last.model,
        settings=settings | wanted,
        options=options,
        remark=_remark(last, before, options),
    )


def _options_of(last: Checkpoint, path: Path) -> TrainingOptions:
    """Return the options of a training; those that came later had the default."""
    with state_reported(path):
        return TrainingOptions(**last.training.get("options", {}))


def _settings_of(found: Architecture) -> dict[str, Any]:
    """Return what ``convert`` would make a network like this one with."""
    options = asdict(found.options)
    own = {
        name: spec.weight_bits
        for name, spec in zip(layer_names(found.layers), found.layers, strict=True)
        if spec.weight_bits is not None
    }
    return options | {
        "weight_bits": own | {OTHERS: found.options.weight_bits} if own else options["weight_bits"],
        "thresholds_per_channel": any(spec.channel_thresholds for spec in found.layers),
        "input_bits": found.input.bits,
        "encoding": found.input.encoding,
        "readout": found.readout,
    }


def _with(found: Architecture, wanted: Mapping[str, Any]) -> Architecture:
    """Return an architecture as other settings would make it.

    Raises:
        ConversionError: there can be no such network.
    """
    changes = {one.name: wanted[one.name] for one in fields(SpikingOptions) if one.name in wanted}
    if "firing_delay" in changes:
        steps = changes.get("num_steps", found.options.num_steps)
        changes["firing_delay"] = steps_of_delay(changes["firing_delay"], steps, ConversionError)
    layers = found.layers
    if "weight_bits" in changes:
        layers = with_widths(layers, changes["weight_bits"])
        changes["weight_bits"] = common_width(changes["weight_bits"])
    if "thresholds_per_channel" in wanted:
        layers = tuple(replace(spec, channel_thresholds=False) for spec in layers)
        layers = with_channel_thresholds(layers) if wanted["thresholds_per_channel"] else layers
    bits = wanted.get("input_bits", found.input.bits)
    scale = default_scale(bits) if "input_bits" in wanted else found.input.scale
    encoding = wanted.get("encoding", found.input.encoding)
    return Architecture(
        replace(found.input, bits=bits, scale=scale, encoding=encoding),
        replace(found.options, **changes),
        layers,
        wanted.get("readout", found.readout),
    )


def _device_of(last: Checkpoint, folder: Path) -> str:
    """Return where a training was: as its options say, or as its random numbers do."""
    kept = kept_options(folder)
    fallback = "cuda" if "random_cuda" in last.training else "cpu"
    return str(kept.get("device", fallback))


def kept_options(folder: Path) -> dict[str, Any]:
    """Return what ``run.toml`` says in the folder of a training; nothing where there is none.

    Raises:
        FileFormatError: it cannot be read.
    """
    path = folder / OPTIONS_NAME
    if not path.exists():
        return {}
    raw = bytes_of_options(path)
    try:
        return parse_toml(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: is no TOML ({plain(str(error))}); mend or remove it"
        ) from error


def _remark(last: Checkpoint, before: TrainingOptions, options: TrainingOptions) -> str:
    """Say how a training goes on."""
    done = last.training["epoch"]
    if options.epochs > before.epochs:
        share = cosine_share(done, options.warm_up, options.epochs)
        return (
            f"made longer after epoch {done}: {options.epochs} epochs instead of {before.epochs}. "
            f"The learning rate is that of {options.epochs} from here on and starts at "
            f"{options.learning_rate * share:.3g}, so the result is not that of "
            f"{options.epochs} epochs from the first"
        )
    if done == options.epochs:
        everything = "the one epoch is" if done == 1 else f"all {done} epochs are"
        return f"{everything} done; more are added by --epochs N, with N above {done}"
    return f"goes on after epoch {done} of {options.epochs}"


def keep_longer(folder: Path, options: TrainingOptions) -> None:
    """Write into ``run.toml`` how many epochs a training has now, if the file is there.

    Args:
        folder: of the training.
        options: of it, made longer.
    """
    kept = kept_options(folder)
    if kept and kept.get("epochs") != options.epochs:
        remark = "It was begun with fewer epochs and made longer: metrics.json has its extensions."
        write_options(folder / OPTIONS_NAME, "train", kept | {"epochs": options.epochs}, remark)
