"""A conversion without a training: measured, judged layer by layer, written and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.table import Table
from torch import nn

from tandem_hw.cli.given.model_file import announcement, build_model, located
from tandem_hw.cli.given.model_name import FORM
from tandem_hw.cli.metrics import for_json, shown
from tandem_hw.cli.options import check_device, write_json
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.process.streams import say
from tandem_hw.cli.terminal import make_console, warn
from tandem_hw.cli.work.budget_tables import budget_line
from tandem_hw.cli.work.samples import Samples, take_samples
from tandem_hw.conversion.convert import convert
from tandem_hw.conversion.onnx.from_onnx import OnnxNetwork, from_onnx
from tandem_hw.conversion.preparation.remedies import Remedy, is_lost, remedies
from tandem_hw.conversion.report import Stage, judge_ordinary, stages_of
from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, ImageDataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.integers import training_integers
from tandem_hw.errors import ConversionError, DataError, FileFormatError
from tandem_hw.export.c99.written_files import written_paths
from tandem_hw.export.files import write_network
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.architecture import Architecture
from tandem_hw.learning.calibration import LayerCalibration, calibrate, starting_potential
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.per_layer.assignment import with_widths
from tandem_hw.learning.per_layer.widths import common_width
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.activity import LayerSummary, summarise
from tandem_hw.network.choices import PHASED, default_encoding, steps_of_delay
from tandem_hw.network.fixed_point import DECAY_UNITY, STATE_LIMIT
from tandem_hw.network.inputs import default_scale
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.objectives import as_tensor, fitting_objective, meaning_of
from tandem_hw.training.warm_start import is_tandem_checkpoint, load_parameters
from tandem_hw.zoo.catalogue import MODELS

_NUM_STEPS, _WEIGHT_BITS, _INPUT_BITS = 7, 8, 4


def run_conversion(
    model_path: Path,
    data: str,
    out: Path,
    model: str | None,
    samples: int,
    test_samples: int | None,
    percentile: float | None,
    simulation_only: bool,
    json_path: Path | None,
    device: str,
    **wanted: Any,
) -> None:
    """Turn a trained network into integers, write them and show how good they are.

    Args:
        model_path: a state_dict, or a checkpoint.
        data: the data set, as ``load_dataset`` takes it.
        out: the file of the network.
        model: the network whose state_dict it is, as ``--model`` names it; None with a checkpoint.
        samples: measure with so many training samples.
        test_samples: judge by so many test samples; None for all.
        percentile: share of the activations that can be sent; None for what errs least.
        simulation_only: write it even if no board can run it.
        json_path: where the result is written, or None.
        device: where PyTorch computes.
        wanted: settings of the spiking network, None for the checkpoint's or the usual one.

    Raises:
        TandemError: the files or the data cannot be used, or no board can run the network.
    """
    check_device(device)
    start = _load(model_path, data, model, wanted)
    network, dataset = start.network.to(device).eval(), start.dataset
    architecture = network.architecture
    integers = training_integers(
        dataset, architecture.input, architecture.options.num_steps, samples
    )
    measuring = torch.from_numpy(integers)
    measured = calibrate(network, measuring, percentile)
    if network.meaning is None:
        network.meaning = meaning_of(fitting_objective(dataset, network.outputs), dataset)
    frozen = freeze(network)
    budget = budget_line(frozen, simulation_only)
    given = take_samples(frozen, dataset, test_samples)
    recording = ReferenceBackend(device).run(frozen, given.inputs, given.labels)
    stages = [*_stages(start, given, device), _last_stage(frozen, given, recording)]
    tried: Sequence[Remedy] = ()
    if is_lost(given.objective, stages[0].metrics, stages[-1].metrics):
        inputs, targets = torch.from_numpy(given.inputs), as_tensor(given.wanted)
        judged = (inputs.to(device), targets.to(device), given.objective, stages[0].metrics)
        tried = remedies(network, measuring, percentile, *judged)
    lost = _Lost(given, stages, tried, f"{model_path}", data, model)
    result = _Result(frozen, stages, measured, summarise(frozen, recording), recording, lost)
    write_network(frozen, out)
    write_json({"data": dataset.name, **result.as_dict(given)}, json_path)
    console = make_console()
    warn(console, [start.remark] if start.remark else [])
    console.print(result.table(given))
    for line in result.remarks():
        console.print(line, style="red")
    console.print(budget)
    for line in written_lines(*written_paths(out), json_path):
        console.print(line)


@dataclass(frozen=True)
class _Start:
    """What is converted, with its data.

    Attributes:
        network: a tandem network with the trained weights.
        ordinary: the same as ordinary PyTorch, or None where the file holds a checkpoint.
        remark: what of a checkpoint cannot be kept, or nothing.
    """

    network: TandemNetwork
    ordinary: nn.Module | None
    dataset: Dataset
    remark: str = ""


def _load(path: Path, data: str, model: str | None, wanted: dict[str, Any]) -> _Start:
    if path.suffix == ".onnx":
        if model is not None:
            raise FileFormatError(
                f"{path}: is an ONNX file, which has its network; leave --model away"
            )
        return _from_ordinary(from_onnx(path), data, wanted, path)
    if is_tandem_checkpoint(path):
        if model is not None:
            raise FileFormatError(
                f"{path}: is a checkpoint, which knows its network; leave --model away"
            )
        return _from_checkpoint(path, data, wanted)
    if model is None:
        raise FileFormatError(
            f"{path}: holds parameters without their network; say with --model which of "
            f"{', '.join(MODELS)} or {FORM} it is"
        )
    return _from_state_dict(path, data, model, wanted)


def _from_state_dict(path: Path, data: str, model: str, wanted: dict[str, Any]) -> _Start:
    settings, dataset = _settings(data, wanted)
    said = announcement(model)
    if said is not None:
        say(said)
    ordinary = build_model(model, dataset.shape, dataset.outputs)
    load_parameters(ordinary, path)
    with located(model):
        network = convert(ordinary, input_shape=dataset.shape, **settings)
    return _Start(network, ordinary, dataset)


def _from_ordinary(ordinary: OnnxNetwork, data: str, wanted: dict[str, Any], path: Path) -> _Start:
    settings, dataset = _settings(data, wanted)
    if ordinary.input_shape not in (None, dataset.shape):
        raise DataError(
            f"{path}: takes samples of shape {ordinary.input_shape}, those of {dataset.name} have "
            f"{dataset.shape}; give the data that it was trained with"
        )
    return _Start(convert(ordinary, input_shape=dataset.shape, **settings), ordinary, dataset)


def _settings(data: str, wanted: dict[str, Any]) -> tuple[dict[str, Any], Dataset]:
    """Return the settings of a network that has none yet, and the data."""
    settings = {
        "num_steps": wanted["num_steps"] or _NUM_STEPS,
        "reset": wanted["reset"] or "subtract",
        "weight_bits": wanted["weight_bits"] or _WEIGHT_BITS,
        "input_bits": wanted["input_bits"] or _INPUT_BITS,
        "encoding": wanted["encoding"],
        "firing_delay": wanted["firing_delay"] or 0,
    }
    settings["initial_potential"] = _initial_potential(wanted, settings["reset"])
    dataset = load_dataset(data, num_steps=settings["num_steps"], input_bits=settings["input_bits"])
    if settings["encoding"] is None:
        settings["encoding"] = dataset.default_encoding(settings["reset"])
    return settings, dataset


def _from_checkpoint(path: Path, data: str, wanted: dict[str, Any]) -> _Start:
    trained = load_checkpoint(path).model
    spec, options = trained.architecture.input, trained.architecture.options
    bits, reset = wanted["input_bits"] or spec.bits, wanted["reset"] or options.reset
    encoding = wanted["encoding"] or spec.encoding
    if wanted["encoding"] is None and reset != options.reset:
        encoding = default_encoding(reset, events=spec.takes_events)
    remark = ""
    if reset == "subtract":  # such neurons do not leak
        remark = _lost_leak(path, options)
        options = replace(options, current_decay=DECAY_UNITY, voltage_decay=0)
    num_steps = wanted["num_steps"] or options.num_steps
    widths, layers = wanted["weight_bits"], trained.architecture.layers
    architecture = Architecture(
        replace(spec, bits=bits, scale=default_scale(bits), encoding=encoding),
        replace(
            options,
            reset=reset,
            num_steps=num_steps,
            weight_bits=options.weight_bits if widths is None else common_width(widths),
            initial_potential=_initial_potential(wanted, reset),
            firing_delay=_firing_delay(path, wanted, options, reset, num_steps),
        ),
        layers if widths is None else with_widths(layers, widths),
        trained.architecture.readout,
    )
    network = TandemNetwork(architecture)
    network.load_state_dict(trained.state_dict())
    network.meaning = trained.meaning
    steps = architecture.options.num_steps
    return _Start(network, None, load_dataset(data, num_steps=steps, input_bits=bits), remark)


def _lost_leak(path: Path, options: SpikingOptions) -> str:
    """Say what a checkpoint's neurons leak, if they do: with reset "subtract" none does."""
    if (options.current_decay, options.voltage_decay) == (DECAY_UNITY, 0):
        return ""
    return (
        f"{path}: its neurons leak (current_decay {options.current_decay}, voltage_decay "
        f'{options.voltage_decay}); with reset "subtract" none does, so it is left out'
    )


def _initial_potential(wanted: Mapping[str, Any], reset: Reset) -> float:
    if wanted["initial_potential"] is not None:
        return float(wanted["initial_potential"])
    return starting_potential(reset)


def _firing_delay(
    path: Path, wanted: Mapping[str, Any], options: SpikingOptions, reset: Reset, num_steps: int
) -> int:
    """Return the steps of delay that are wanted, or the checkpoint's; it stays phased if it is."""
    delay = wanted["firing_delay"]
    if delay is None:
        delay = PHASED if options.phased else options.firing_delay
        if delay and reset != "subtract":
            raise ConversionError(
                f"{path}: its layers wait with firing_delay {options.firing_delay}, which neurons "
                f'with reset "{reset}" cannot; give --firing-delay 0 too to convert it without a '
                f"delay, or leave --reset away"
            )
    return steps_of_delay(delay, num_steps, ConversionError)


# The table ---------------------------------------------------------------------------------------


def _stages(start: _Start, given: Samples, device: str) -> list[Stage]:
    targets = as_tensor(given.wanted)
    stages = []
    if start.ordinary is not None and isinstance(start.dataset, ImageDataset):
        stages.append(judge_ordinary(start.ordinary, start.dataset, targets, given.objective))
    inputs = torch.from_numpy(given.inputs).to(device)
    return stages + stages_of(start.network, inputs, targets.to(device), given.objective)


def _last_stage(network: QuantizedNetwork, given: Samples, recording: Recording) -> Stage:
    last = network.layers[-1].name
    name = f"{last} on integers: what is written"
    return Stage(name, len(network.layers), given.measure(network, recording), last)


@dataclass(frozen=True)
class _Lost:
    """What a conversion has lost of the ordinary network, and what would bring it back."""

    given: Samples
    stages: Sequence[Stage]
    tried: Sequence[Remedy]
    path: str
    data: str
    model: str | None

    @property
    def is_lost(self) -> bool:
        """Whether the network that is written is worse than the ordinary one."""
        return is_lost(self.given.objective, self.stages[0].metrics, self.stages[-1].metrics)

    def remarks(self) -> list[str]:
        """Return a line about a loss, with what to do about it."""
        if not self.is_lost:
            return []
        first, last = self.stages[0], self.stages[-1]
        return [
            f"LOST: what is written has {self._value(last.metrics)}, the {first.name} "
            f"{self._value(first.metrics)}; {self._remedy()}"
        ]

    def _remedy(self) -> str:
        first, inputs, *_ = self.stages
        bits = ""
        if inputs.spiking_layers == 0 and is_lost(
            self.given.objective, first.metrics, inputs.metrics
        ):
            bits = (
                f"{self._value(inputs.metrics)} with {inputs.name} alone, so give --input-bits 8; "
            )
        if self.path.endswith(".onnx"):
            training = (
                "train it for a few epochs from here (from_onnx, convert and train in Python)"
            )
        else:
            train = f"train {self.data} --init {self.path}"
            train += f" --model {self.model}" if self.model else ""
            training = f"train it for a few epochs from here (tandem-hw {train})"
        enough = [one for one in self.tried if one.is_enough]
        if enough:
            (one,) = enough
            return (
                f"{bits}with --firing-delay phased --num-steps {one.num_steps} it has "
                f"{self._value(one.metrics)}, in a longer time: convert with these, or {training}"
            )
        found = " and ".join(
            f"{self._value(one.metrics)} with --num-steps {one.num_steps}" for one in self.tried
        )
        phased = f"--firing-delay phased is not enough ({found}): " if found else ""
        return f"{bits}{phased}{training}"

    def _value(self, metrics: Mapping[str, float]) -> str:
        metric = self.given.objective.metric
        return shown(metric, metrics[metric])


#: What is known of neurons that a max pooling consists of: no sample is needed to set them.
_NOT_MEASURED: Final = LayerCalibration(None, None, 0.0)


@dataclass(frozen=True)
class _Result:
    """A conversion, ready to be shown."""

    network: QuantizedNetwork
    stages: Sequence[Stage]
    measured: Mapping[str, LayerCalibration]
    activity: Sequence[LayerSummary]
    recording: Recording
    lost: _Lost

    @property
    def silent(self) -> list[str]:
        """Layers that never fired on the test samples."""
        return [layer.name for layer in self.activity if layer.spikes == 0]

    def table(self, given: Samples) -> Table:
        """Return the stages, each beside what its layer does, for the terminal."""
        metric = given.objective.metric
        table = Table(title=counted(len(self.recording), "test sample"))
        numbers = (metric, "activation_max", "cut off", "spike rate", "largest state")
        for name in ("stage", *numbers):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for stage in self.stages:
            value = shown(metric, stage.metrics[metric]).split(" ", 1)[1]
            cells = self._layer_cells(stage.layer)
            table.add_row(stage.name, value, *cells)
        return table

    def _measurement(self, name: str) -> LayerCalibration:
        return self.measured.get(name, _NOT_MEASURED)

    def _layer_cells(self, name: str) -> tuple[str, ...]:
        layer = next((one for one in self.activity if one.name == name), None)
        measured = self._measurement(name)
        if layer is None:
            return ()
        share = self.recording.peak[layer.name] / STATE_LIMIT
        return (
            "" if measured.activation_max is None else f"{measured.activation_max:.4g}",
            "" if measured.cut_off is None else f"{measured.cut_off:.2%}",
            "" if layer.spike_rate is None else f"{layer.spike_rate:.4f}",
            f"{share:.0%} of 24 bits",
        )

    def remarks(self) -> list[str]:
        """Return a line about each thing that makes such a network useless."""
        lines = []
        if self.silent:
            lines.append(
                f"SILENT: {', '.join(self.silent)} never fired on the test samples; use more "
                f"num-steps or a lower percentile, or train the network"
            )
        full = [name for name, peak in self.recording.peak.items() if peak >= STATE_LIMIT]
        if full:
            lines.append(
                f"SATURATED: states of {', '.join(full)} left the chip's 24 bits on the test "
                f"samples; measure with more --samples, or use fewer num-steps"
            )
        return lines + self.lost.remarks()

    def as_dict(self, given: Samples) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "samples": len(self.recording),
            "network_digest": self.network.digest,
            "objective": given.objective.name,
            "stages": [
                {
                    "name": stage.name,
                    "spiking_layers": stage.spiking_layers,
                    **for_json(stage.metrics),
                }
                for stage in self.stages
            ],
            "layers": [
                {
                    "name": layer.name,
                    "activation_max": self._measurement(layer.name).activation_max,
                    "cut_off": self._measurement(layer.name).cut_off,
                    "spike_rate": layer.spike_rate,
                    "largest_state": self.recording.peak[layer.name],
                    "state_limit": STATE_LIMIT,
                }
                for layer in self.activity
            ],
            "silent_layers": self.silent,
            "lost": self.lost.is_lost,
            "tried": [
                {"num_steps": one.num_steps, "firing_delay": PHASED, **for_json(one.metrics)}
                for one in self.lost.tried
            ],
        }
