"""Where a conversion starts from: thresholds and room for potentials, measured on samples.

A *threshold* follows from what the ordinary network's activations reach. The *room* of a layer
(``TandemLayer.peak``) follows from its integer neurons: they run over the window as if their
registers had no end, in a network whose layers all do, and the largest state that they reach has to
fit the chip's 24 bits with something to spare. The ordinary pre-activation would not tell: the
membrane goes beyond it on the way, where inhibition comes after excitation, and a neuron that is
driven above its ceiling keeps what it cannot send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.layers import TandemLayer, TandemSignal
from tandem_hw.learning.model import TandemNetwork, check_tandem
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.learning.signals import along_channels
from tandem_hw.learning.spiking_options import PERCENTILES
from tandem_hw.network.quantized import Reset
from tandem_hw.user_warnings import InputWarning, SilentLayerWarning, warn_caller

__all__ = [
    "INITIAL_POTENTIAL",
    "LayerCalibration",
    "Samples",
    "calibrate",
    "calibrate_thresholds",
    "check_samples",
    "starting_potential",
    "was_measured",
    "without_ceilings",
]

#: Integers as a network takes them, uint8 [samples, *sample_shape].
Samples = Tensor | npt.NDArray[np.uint8]

#: Share of the threshold that the windows of a converted network start from, with reset "subtract":
#: counts are rounded to the nearest. Points of accuracy lost at T = 7 on digits with 0, 0.25 and
#: 0.5: 9.3, 2.8 and 0.6 by ``lenet``, 0.2, -0.1 and 0.1 by networks of two convolutions (mean of
#: five).
INITIAL_POTENTIAL: Final = 0.5
#: An activation_max with which no activation reaches the ceiling.
_NO_CEILING: Final = 1e9
#: Values of a layer that its ceiling is taken of; more are thinned out evenly.
_VALUES_MAX: Final = 1 << 22
#: Samples that are run at a time.
_BATCH: Final = 64
#: Samples that use less than one part in so many of the inputs' range are warned of.
_RANGE: Final = 8
#: Percentiles among which the ceiling of the least error is chosen. A window of two steps is best
#: off near the first of them, one of some hundred near the last.
_CANDIDATES: Final = (80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99, 100)
#: Integers that are made for more room move the potentials a little, so they are measured again,
#: until no layer's largest state has grown by more than this share. Two rounds are usual.
_GROWTH: Final = 1 / 16
_ROUNDS: Final = 8


@dataclass(frozen=True)
class LayerCalibration:
    """What the samples said about one layer.

    Attributes:
        activation_max: the real activation at which its neurons now fire in every step, of all
            channels alike; None for a readout by potential.
        cut_off: share of the positive activations above it; None for a readout by potential.
        largest_state: largest magnitude that a state of its neurons needs, in real units.
    """

    activation_max: float | None
    cut_off: float | None
    largest_state: float


def check_samples(model: TandemNetwork, samples: Any) -> Tensor:
    """Return samples as a tensor beside the model, or say what is wrong with them.

    Args:
        model: the network that takes them.
        samples: uint8 [samples, *sample_shape], integers of ``input_bits``; an array or a tensor.

    Raises:
        ConversionError: they are real numbers, raw pixels, of another shape, none, or all zero.
    """
    spec = model.architecture.input
    remedy = (
        f"quantize them with tandem_hw.quantize_inputs(images, bits={spec.bits}, "
        f"scale={spec.scale:.6g})"
    )
    if isinstance(samples, np.ndarray) and samples.dtype == np.uint8:
        samples = torch.from_numpy(np.ascontiguousarray(samples))
    if not isinstance(samples, np.ndarray | Tensor):
        raise ConversionError(
            f"samples are {type(samples).__name__}; give the integers that the network takes as "
            f"one array or tensor, uint8 [samples, {', '.join(map(str, model.sample_shape))}], "
            f"and {remedy}"
        )
    if not isinstance(samples, Tensor) or samples.dtype != torch.uint8:
        raise ConversionError(f"samples are {samples.dtype}, not the network's integers; {remedy}")
    if tuple(samples.shape[1:]) != model.sample_shape or not samples.dim():
        raise ConversionError(
            f"samples have shape {tuple(samples.shape)}; needed are [samples, "
            f"{', '.join(map(str, model.sample_shape))}]"
        )
    if not len(samples):
        raise ConversionError("there are 0 samples to calibrate with; give some training samples")
    largest = int(samples.max())
    if largest > spec.largest:
        raise ConversionError(
            f"samples reach {largest}, the network takes {spec.bits}-bit integers up to "
            f"{spec.largest}; {remedy}"
        )
    if largest == 0:
        raise ConversionError(
            f"all samples are 0, so nothing can be measured; give images that use the range up to "
            f"{spec.largest}"
        )
    return samples.to(next(model.parameters()).device)


def _warn_of_darkness(model: TandemNetwork, samples: Tensor) -> None:
    """Warn of samples that use a small part of the range; events count what comes in a step."""
    spec, largest = model.architecture.input, int(samples.max())
    if not spec.takes_events and largest * _RANGE < spec.largest:
        warn_caller(
            f"samples reach {largest}, where the network takes {spec.bits}-bit integers up to "
            f"{spec.largest}; were they quantized with other bits? Use the network's, "
            f"tandem_hw.quantize_inputs(images, bits={spec.bits}, scale={spec.scale:.6g})",
            InputWarning,
        )


def calibrate_thresholds(
    model: TandemNetwork, inputs: Samples, percentile: float | None = 99.9
) -> dict[str, float]:
    """Set every layer's ``activation_max``, and make room for its potentials; see ``calibrate``.

    Args:
        model: a tandem network with trained weights; changed in place.
        inputs: uint8 [samples, *sample_shape] of training data.
        percentile: as for ``calibrate``.

    Returns:
        By firing layer, its new ``activation_max``.

    Raises:
        ConversionError: as ``calibrate``.
    """
    measured = calibrate(model, inputs, percentile)
    return {
        name: layer.activation_max
        for name, layer in measured.items()
        if layer.activation_max is not None
    }


@torch.no_grad()
def calibrate(
    model: TandemNetwork, inputs: Samples, percentile: float | None = None
) -> dict[str, LayerCalibration]:
    """Set every layer's ``activation_max`` and ``peak`` to what samples need.

    An ordinary network knows no ceiling; a spiking neuron cannot fire more often than once a step.
    A ceiling too high makes every spike worth too much, one too low cuts activations off. The
    integers of a layer are then chosen so that twice the largest state that its neurons reached
    fits the chip's registers.

    Args:
        model: a tandem network with trained weights; changed in place, left in the mode it was in.
        inputs: uint8 [samples, *sample_shape] of training data, integers of ``input_bits``.
        percentile: share of a layer's positive activations below its ceiling in per cent, above 0
            to 100; None chooses the ceiling a for which the counts of the window,
            floor(x T / a + initial_potential) within 0 to T, come closest to the activations x in
            the mean of the squared error.

    Returns:
        By layer, what was found.

    Raises:
        ConversionError: it is no tandem network, there are no samples, they do not fit the network,
            the percentile is out of range, a layer's spike is worth less than one weight unit, or
            the model's parameters have too few digits.
    """
    if percentile is not None and percentile not in PERCENTILES:
        raise ConversionError(
            f"calibration with a percentile of {percentile}; give one above 0, up to 100"
        )
    check_tandem(model)
    model.check_precision()
    inputs = check_samples(model, inputs)
    _warn_of_darkness(model, inputs)
    was_training = model.training
    model.eval()
    try:
        cut_off = _set_ceilings(model, inputs, percentile)
        states = _make_room(model, inputs)
    finally:
        model.train(was_training)
    return {
        layer.name: LayerCalibration(
            float(layer.activation_max.max()) if layer.fires else None,
            cut_off.get(layer.name),
            states[layer.name],
        )
        for layer in model.tandem_layers
    }


@contextmanager
def without_ceilings(model: TandemNetwork) -> Iterator[None]:
    """Let layers that do not spike put out whatever the ordinary network's do.

    Args:
        model: whose ceilings are lifted; they are set back at the end.
    """
    firing = [layer for layer in model.tandem_layers if layer.fires]
    before = [layer.activation_max.detach().clone() for layer in firing]
    with torch.no_grad():
        try:
            for layer in firing:
                layer.activation_max.fill_(_NO_CEILING)
            yield
        finally:
            for layer, ceiling in zip(firing, before, strict=True):
                layer.activation_max.copy_(ceiling)


def starting_potential(reset: Reset) -> float:
    """Return the initial potential of a network that is converted without a training.

    Args:
        reset: only neurons that reset by subtraction have one.
    """
    return INITIAL_POTENTIAL if reset == "subtract" else 0.0


def was_measured(model: TandemNetwork) -> bool:
    """Whether a network has room for its potentials: a training or a calibration has passed it."""
    return any(float(layer.peak) > 0 for layer in model.tandem_layers)


# Thresholds --------------------------------------------------------------------------------------


def _set_ceilings(
    model: TandemNetwork, inputs: Tensor, percentile: float | None
) -> dict[str, float]:
    """Set the ceilings of firing layers, and return the share of activations that each cuts off."""
    firing = [layer for layer in model.tandem_layers if layer.fires]
    found = _ordinary_activations(model, firing, inputs)
    silent = [layer.name for layer in firing if not len(found[layer.name])]
    if silent:
        warn_caller(
            f"{', '.join(silent)}: no activation is positive on these "
            f"{counted(len(inputs), 'sample')}, so "
            f"the threshold stays as it was; give samples of the training data, more of them, or "
            f"train the network again",
            SilentLayerWarning,
        )
    cut_off = {}
    for layer in firing:
        positive = found[layer.name]
        if len(positive):
            ceiling = _ceiling(layer, positive, percentile)
            layer.activation_max.fill_(ceiling)
            cut_off[layer.name] = int((positive > ceiling).sum()) / len(positive)
    return cut_off


def _ordinary_activations(
    model: TandemNetwork, layers: Sequence[TandemLayer], inputs: Tensor
) -> dict[str, Tensor]:
    """Return the positive activations of the ordinary network without ceilings, ascending."""
    found: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}

    def look(layer: nn.Module, _: Any, signal: Any) -> None:
        assert isinstance(layer, TandemLayer)
        assert isinstance(signal, TandemSignal)
        values = signal.counts * along_channels(signal.scale, signal.counts)
        stride = -(-len(inputs) * values[0].numel() // _VALUES_MAX)
        found[layer.name].append(values[values > 0][::stride])

    with without_ceilings(model), _hooked(layers, look):
        for batch in torch.split(inputs, _BATCH):
            model(batch, spiking=0)
    return {name: torch.cat(parts).sort().values for name, parts in found.items()}


def _ceiling(layer: TandemLayer, positive: Tensor, percentile: float | None) -> float:
    """Choose a ceiling for ascending activations, by percentile or by the least squared error."""
    if percentile is not None:
        return _at(positive, percentile)
    options = layer.options

    def error(ceiling: float) -> float:
        value = ceiling / options.num_steps
        counts = (positive / value + options.initial_potential).floor()
        sent = counts.clamp(max=options.num_steps) * value
        return float((sent.double() - positive).square().mean())

    return min((_at(positive, candidate) for candidate in _CANDIDATES), key=error)


def _at(ascending: Tensor, percentile: float) -> float:
    return float(ascending[max(1, round(len(ascending) * percentile / 100)) - 1])


# Room --------------------------------------------------------------------------------------------


def _make_room(model: TandemNetwork, inputs: Tensor) -> dict[str, float]:
    """Set every layer's peak, and return the largest state of each in real units."""
    layers = model.tandem_layers
    for layer in layers:
        layer.peak.zero_()
    for _ in range(_ROUNDS):
        needed = _largest_states(model, inputs)
        grown = [one for one in layers if needed[one.name] > float(one.peak) * (1 + _GROWTH)]
        for layer in layers:
            layer.peak.fill_(max(float(layer.peak), needed[layer.name]))
        if not grown:
            break
    return needed


def _largest_states(model: TandemNetwork, inputs: Tensor) -> dict[str, float]:
    """Run the integer neurons as if their registers had no end.

    Returns:
        By layer the largest magnitude of a state, current and voltage alike, in real units.
    """
    needed: dict[str, float] = {layer.name: 0.0 for layer in model.tandem_layers}

    def run(layer: nn.Module, arguments: Any, _: Any) -> TandemSignal | None:
        """Put what the integer neurons send in place of the ordinary layer's output."""
        assert isinstance(layer, TandemLayer)
        (signals, *_) = arguments
        integers = layer.integer_parameters(*(signal.scale for signal in signals))
        _check_threshold(layer, integers)
        activity = layer.simulate(signals, integers, unlimited=True)
        assert activity.peak is not None  # it is followed
        # The peak is that of the voltage. The current is the voltage without its bias, or with
        # reset "zero" what has come on top of it, so twice this sum holds the current in each case.
        state = (activity.peak + int(integers.bias.abs().max())) * integers.unit
        needed[layer.name] = max(needed[layer.name], state)
        if activity.counts is None or activity.train is None:
            return None
        return TandemSignal(activity.counts, activity.train, layer.sent_value)

    with _hooked(model.tandem_layers, run):
        for batch in torch.split(inputs, _BATCH):
            model(batch, spiking=0)
    return needed


def _check_threshold(layer: TandemLayer, integers: IntegerParameters) -> None:
    """Refuse a layer whose weights or potentials, in units of a threshold, exceed the registers."""
    if integers.threshold == 1:
        raise ConversionError(
            f"layer {layer.name}: a spike is worth {layer.spike_value:.3g}, less than one weight "
            f"unit, because its weights or potentials are so much larger; use fewer num_steps or a "
            f"higher percentile"
        )


@contextmanager
def _hooked(layers: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
