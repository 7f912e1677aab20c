"""Tandem layers: the integer network forward, the gradient of its ordinary twin backward.

A layer receives the counts and spikes of the layer below and does two things (paper, section III):

    SNN twin:  the integrate-and-fire neurons of ``tandem_hw.arithmetic.neurons`` on the integers of
               ``tandem_hw.learning.quantizer`` give spikes s[t] and counts c = sum over t of s[t].
    ANN twin:  a = (W c_in + b) / threshold on real weights builds the graph for the gradient.

The counts c then replace a in the forward pass; backward, the gradient of c is taken as that of a,
where 0 < a < T (``twin="clip"``) or where 0 < a (``twin="relu"``, the paper's). Nothing is
differentiated through time, so the memory of the backward pass does not grow with T. The twin knows
of no leak: with one, the forward pass is as exact, and the gradient that of a neuron without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.neurons import (
    Incoming,
    LayerActivity,
    NeuronParameters,
    Train,
    simulate_layer,
)
from tandem_hw.arithmetic.synapses import largest_magnitude
from tandem_hw.learning.kinds.kind import LayerKind, Observer
from tandem_hw.learning.per_layer.folding import columns, is_by_channel, rows
from tandem_hw.learning.precision import check_precision
from tandem_hw.learning.quantizer import (
    IntegerParameters,
    RealSynapses,
    quantize_layer,
    scalar,
)
from tandem_hw.learning.signals import TandemSignal, along_channels
from tandem_hw.learning.spiking_options import SpikingOptions, Twin
from tandem_hw.learning.surrogates import replace_by_count, replace_value
from tandem_hw.learning.weights_in_effect import refresh_weights
from tandem_hw.network.bounds import (
    AnyInterval,
    check_accumulator,
    input_steps,
    reach,
    sum_intervals,
    weighted_interval,
    window_bounds,
)
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.network.whole_numbers import whole_numbers

__all__ = ["Observer", "SpikingOptions", "TandemLayer", "TandemSignal", "Twin"]

#: Room above the largest potential that was seen lately, and what of it is left after a batch.
#: Sums on their way to it, and samples that were not seen, may go beyond.
_HEAD_ROOM = 2.0
_PEAK_DECAY = 0.99
#: A learnt activation_max stays above this, so that a threshold stays positive.
_LEAST_ACTIVATION = 1e-3


#: What is given for each signal.
_Given = TypeVar("_Given")


@dataclass(frozen=True)
class _Branch:
    """What some synapses of a layer do in a forward pass.

    Attributes:
        twin: their part of the twin's pre-activation, or None where it is not needed.
        synapses: their real weights, normalisation folded in, for each signal that they take.
        bias: float64 [out], their part of the bias.
    """

    twin: Tensor | None
    synapses: tuple[RealSynapses, ...]
    bias: Tensor


class TandemLayer(LayerKind):
    """Common part of all tandem layers: synapses, and the neurons behind them.

    The kinds are in ``tandem_hw.learning.kinds``. A layer also serves as a skip of another one,
    which then uses its synapses and its normalisation alone.

    Attributes:
        name: unique within the network.
        options: what the network's layers share.
        fires: False for a readout by potential.
        activation_max: real activation at which a neuron fires in every step, a parameter; what
            of it is above ``ceiling`` does not count.
        peak: largest magnitude of the twin's pre-activation in the last batches of the training, or
            of the integer neurons' state in a calibration, a buffer; the integers are chosen so
            that twice as much fits the chip's state. 0 where neither has passed.
        skips: further synapses onto the same neurons.
        number: how many neurons a sample has, where the network says so.
        ceiling: largest real activation, where the ordinary layer has one as ReLU6 does.
        parts: for each of the signals that the main synapses take joined together, the part of
            the weights that is its own, along their second axis.
    """

    has_neurons: ClassVar[bool] = True
    number: int | None = None
    ceiling: float | None = None
    parts: tuple[slice, ...] = (slice(None),)
    weight: nn.Parameter | None
    name: str
    peak: Tensor

    def __init__(
        self,
        name: str,
        options: SpikingOptions,
        weight: Tensor | None,
        bias: Tensor | None,
        norm: nn.BatchNorm1d | nn.BatchNorm2d | None,
        fires: bool,
    ) -> None:
        super().__init__()
        self.name = name
        self.options = options
        self.fires = fires
        self.weight = None if weight is None else nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.norm = norm
        self.skips = nn.ModuleList()
        self.register_buffer("peak", torch.zeros((), dtype=torch.float32))
        self.activation_max = nn.Parameter(
            torch.tensor(options.activation_max, dtype=torch.float32),
            requires_grad=options.learn_thresholds and fires,
        )

    def part_thresholds(self, channels: int) -> None:
        """Give every channel a threshold of its own, all as they are by default.

        Args:
            channels: of what goes out.
        """
        value, learnt = self.activation_max.detach(), self.activation_max.requires_grad
        self.activation_max = nn.Parameter(value.repeat(channels), requires_grad=learnt)

    @property
    def spike_value(self) -> float:
        """The real firing threshold of all neurons, positive; one spike is worth ``sent_value``."""
        return float(self._threshold(self._spike_value()))

    @property
    def sent_value(self) -> float | Tensor:
        """Real value of one spike: that of the threshold, or one for each channel, [channels]."""
        value = self._spike_value()
        return value if value.dim() else float(value)

    def _threshold(self, spike_value: Tensor) -> Tensor:
        """Return the threshold of all neurons, whose channels may send spikes of other values."""
        if not spike_value.dim():
            return spike_value
        return scalar(self.options.activation_max / self.options.num_steps, spike_value)

    @torch.no_grad()
    def _spike_value(self) -> Tensor:
        """Return ``sent_value`` where the parameters are, float64 [] or [channels]."""
        value = self.activation_max.double().abs().clamp(_LEAST_ACTIVATION, self.ceiling)
        return value / scalar(self.options.num_steps, value)

    def _graph_spike_value(self) -> Tensor | None:
        """Return ``spike_value`` with its gradient, or None where it is not learnt."""
        if not self.activation_max.requires_grad:
            return None
        value = self.activation_max.abs()
        # One that starts at its ceiling can learn to go down, and at a limit ``clamp`` has another
        # gradient from version to version of PyTorch.
        limited = value.detach().clamp(_LEAST_ACTIVATION, self.ceiling)
        return torch.where(value == limited, value, limited) / self.options.num_steps

    @property
    def synapses(self) -> list[TandemLayer]:
        """The layer itself, for its main synapses, and its skips."""
        return [self, *(skip for skip in self.skips if isinstance(skip, TandemLayer))]

    @property
    def paths(self) -> list[SynapticPath]:
        """What each signal that comes in passes: for the main synapses, then for each skip."""
        return [
            SynapticPath(synapses, part)
            for synapses in self.synapses
            for part in range(len(synapses.parts))
        ]

    @property
    def takes_parts(self) -> bool:
        """Whether the main synapses can take several signals that are joined."""
        return self.weight is not None and self.groups == 1

    def parts_of(self, shapes: Sequence[Shape]) -> tuple[slice, ...]:
        """Return ``parts`` for signals of these shapes."""
        whole = self.real_weight
        assert whole is not None  # it takes parts
        channels = sum(shape[0] for shape in shapes)
        sizes = [shape[0] if whole.shape[1] == channels else math.prod(shape) for shape in shapes]
        ends = list(accumulate(sizes))
        return tuple(slice(end - size, end) for end, size in zip(ends, sizes, strict=True))

    def _grouped(self, given: Sequence[_Given]) -> list[tuple[_Given, ...]]:
        """Part what is given for each signal by the synapses that take it."""
        items = iter(given)
        found = [tuple(islice(items, len(one.parts))) for one in self.synapses]
        assert next(items, None) is None  # there are as many as paths
        return found

    @property
    def real_weight(self) -> Tensor | None:
        """Real weights, output channels first; None for one-to-one synapses."""
        return self.weight

    def forward(
        self,
        signals: TandemSignal | Sequence[TandemSignal],
        observe: Observer | None = None,
        *,
        spiking: bool = True,
        checks: DeferredChecks | None = None,
    ) -> TandemSignal | Tensor:
        """Run both twins.

        Args:
            signals: what comes in, one signal for each of ``paths``.
            observe: told what the spiking twin did.
            spiking: False for the ordinary twin alone, on real weights and without integers.
            checks: takes up what the integers must hold to, and nothing is raised here; only with
                them are no numbers read from the device.

        Returns:
            A ``TandemSignal`` of a firing layer; of a readout its potential in real units, float32
            [batch, *shape].

        Raises:
            ConversionError: its parameters have too few digits.
            NetworkError: a sum of one step can leave the chip's accumulator.
        """
        check_precision(self.name, self)
        signals = [signals] if isinstance(signals, TandemSignal) else signals
        spike_value = self._spike_value()
        is_left = checks is not None or spike_value.dim() > 0
        value = spike_value if is_left else float(spike_value)
        if not spiking:
            return self._ordinary(signals, value)
        branches = [
            synapses.branch(*taken, on_device=checks is not None)
            for synapses, taken in zip(self.synapses, self._grouped(signals), strict=True)
        ]
        twin = _sum_of_twins(branches)
        self._follow_peak(twin, spike_value)
        integers = self._quantize(branches, spike_value, checks)
        activity = self.simulate(signals, integers, checks=checks)
        if observe is not None:
            observe(self, activity, integers)
        if activity.potential is not None:
            potential = real_potential(activity.potential, integers)
            if twin is None:
                return potential
            return replace_value(twin, potential)
        assert activity.counts is not None  # it fires
        assert activity.train is not None
        counts, train = activity.counts, activity.train
        if twin is None:
            return TandemSignal(counts, train, value)
        graph_value = self._graph_spike_value()
        if graph_value is None:
            counts = replace_by_count(twin, counts, self._ceiling, along_channels(value, twin))
        else:
            ratio = twin / along_channels(graph_value, twin)
            counts = replace_by_count(ratio, counts, self._ceiling)
        return TandemSignal(counts, train, value, graph_scale=graph_value)

    @property
    def _ceiling(self) -> float:
        """The activation, in spikes, above which the twin has no gradient."""
        clips = self.options.twin == "clip" or self.ceiling is not None
        return float(self.options.num_steps) if clips else float("inf")

    def _ordinary(
        self, signals: Sequence[TandemSignal], value: float | Tensor
    ) -> TandemSignal | Tensor:
        """Run the ordinary twin: a ReLU, capped where a neuron would fire in every step."""
        total: Tensor | None = None
        for synapses, taken in zip(self.synapses, self._grouped(signals), strict=True):
            part = synapses.total(*taken)
            if synapses.norm is not None:
                part = synapses.norm(part)
            total = part if total is None else total + part
        assert total is not None  # every layer has synapses
        self._follow_peak(total, value)
        if not self.fires:
            return total
        graph_value = self._graph_spike_value()
        ratio = total / along_channels(value if graph_value is None else graph_value, total)
        activation = ratio.clamp(0, self._ceiling)
        return TandemSignal(activation, None, value, graph_scale=graph_value)

    @torch.no_grad()
    def _follow_peak(self, twin: Tensor | None, spike_value: float | Tensor) -> None:
        """Keep the largest pre-activation of the last batches, as the neurons have it."""
        if self.training and twin is not None:
            if isinstance(spike_value, Tensor) and spike_value.dim():
                twin = twin * along_channels(self._threshold(spike_value) / spike_value, twin)
            low, high = torch.aminmax(twin)
            magnitude = torch.maximum(-low, high)
            self.peak.copy_(torch.maximum(self.peak * _PEAK_DECAY, magnitude))

    def total(self, *signals: TandemSignal) -> Tensor:
        """Return the twin's real weighted sum of its signals, before normalisation."""
        refresh_weights(self)
        weight = self.real_weight
        first = signals[0]
        if weight is None:
            return first.counts * first.real
        if len(signals) == 1 and not is_by_channel(first.scale):
            counts, weight = first.counts, weight * first.real
        else:
            counts = self._joined([one.values for one in signals])
        if torch.float64 in (counts.dtype, weight.dtype):
            counts = counts.to(weight.dtype)
        total = self.twin_input(counts, weight)
        return total if self.bias is None else total + self.bias_image(self.bias)

    def _joined(self, values: Sequence[Tensor]) -> Tensor:
        """Put the values of several signals behind each other, in the order of the weights."""
        if len({value.shape[2:] for value in values}) > 1:  # vectors, some of them out of images
            values = [value.flatten(1) for value in values]
        return torch.cat(list(values), dim=1)

    def branch(self, *signals: TandemSignal, on_device: bool = False) -> _Branch:
        """Return what the main synapses do with their signals.

        Args:
            signals: what comes in, one of each of ``parts``.
            on_device: leave the parameters where they are, in training.
        """
        scales = tuple(signal.scale for signal in signals)
        if not torch.is_grad_enabled() and not self.training:
            # Evaluation needs the integers alone; the twin's value is replaced in any case.
            return self.evaluated_branch(*scales)
        total = self.total(*signals)
        if self.norm is None and on_device:
            return replace(self._folded(scales, None), twin=total)
        if self.norm is None or not self.training:
            branch = self.evaluated_branch(*scales)
            return replace(branch, twin=total if self.norm is None else self.norm(total))
        return self._normalised(total, self.norm, scales)

    def _normalised(
        self,
        total: Tensor,
        norm: nn.BatchNorm1d | nn.BatchNorm2d,
        scales: tuple[float | Tensor, ...],
    ) -> _Branch:
        """Normalise by the batch's statistics and fold the same statistics into the weights."""
        assert norm.momentum is not None  # conversion refuses a cumulative average
        twin, mean, inverse_deviation = torch.native_batch_norm(
            total,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            True,
            norm.momentum,
            norm.eps,
        )
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        return replace(self._folded(scales, (mean.double(), inverse_deviation.double())), twin=twin)

    @torch.no_grad()
    def evaluated_branch(self, *input_scales: float | Tensor) -> _Branch:
        """Return the real parameters of evaluation, on the CPU in float64 on every machine.

        Args:
            input_scales: real value of one incoming count of each signal.
        """
        cpu = torch.device("cpu")
        if self.norm is None:
            return self._folded(input_scales, None, cpu)
        assert self.norm.running_mean is not None  # conversion saw to it
        assert self.norm.running_var is not None
        mean = self.norm.running_mean.cpu().double()
        deviation = (self.norm.running_var.cpu().double() + self.norm.eps).sqrt()
        return self._folded(input_scales, (mean, 1 / deviation), cpu)

    @torch.no_grad()
    def _folded(
        self,
        input_scales: tuple[float | Tensor, ...],
        statistics: tuple[Tensor, Tensor] | None,
        device: torch.device | None = None,
    ) -> _Branch:
        """Fold a mean and an inverse deviation into weights and bias."""
        refresh_weights(self)
        real = self.real_weight
        if real is None:
            bias = torch.zeros(1, dtype=torch.float64, device=device or self.peak.device)
            return _Branch(None, tuple(RealSynapses(None, one) for one in input_scales), bias)
        weight = real.to(device or real.device).double()
        bias = weight.new_zeros(weight.shape[0])
        if self.bias is not None:
            bias = self.bias.to(weight.device).double()
        if self.norm is not None and statistics is not None:
            mean, gain = statistics
            if self.norm.weight is not None:
                gain = gain * self.norm.weight.to(weight.device).double()
            bias = (bias - mean) * gain
            if self.norm.bias is not None:
                bias = bias + self.norm.bias.to(weight.device).double()
            weight = weight * gain.reshape(-1, *([1] * (weight.dim() - 1)))
        own = zip(self.parts, input_scales, strict=True)
        synapses = tuple(
            RealSynapses(weight[:, part] * columns(scale, weight[:, part], self.groups), 1.0)
            if is_by_channel(scale)
            else RealSynapses(weight[:, part], scale)
            for part, scale in own
        )
        return _Branch(None, synapses, bias)

    def integer_parameters(self, *input_scales: float | Tensor) -> IntegerParameters:
        """Return the integers that are exported, computed on the CPU in float64 on every machine.

        Args:
            input_scales: real value of one incoming count, for each of ``paths``.

        Returns:
            Weights, bias and threshold on the deployment grid, on the CPU.

        Raises:
            ConversionError: its parameters have too few digits.
        """
        check_precision(self.name, self)
        return self._quantize(
            [
                synapses.evaluated_branch(*scales)
                for synapses, scales in zip(self.synapses, self._grouped(input_scales), strict=True)
            ],
            self._spike_value(),
        )

    @torch.no_grad()
    def _quantize(
        self,
        branches: Sequence[_Branch],
        spike_value: Tensor,
        checks: DeferredChecks | None = None,
    ) -> IntegerParameters:
        bias = branches[0].bias
        for branch in branches[1:]:
            bias = bias + branch.bias.to(bias.device)
        main, *others = (synapses for branch in branches for synapses in branch.synapses)
        if self.fires and self.options.reset == "zero":
            bias = bias / self.options.num_steps  # it acts in every step, the total is the same
        value = spike_value.to(bias.device)
        if value.dim():
            factor = self._threshold(value) / value
            main, *others = (rows(one, factor) for one in (main, *others))
            bias, value = bias * factor, self._threshold(value)
        if self.fires:
            bias = bias + self.options.initial_potential * value
        return quantize_layer(
            main.weight,
            bias,
            input_scale=main.input_scale,
            real_threshold=value if self.fires else None,
            weight_bits=self.options.weight_bits,
            name=self.name,
            skips=others,
            largest_potential=_HEAD_ROOM * self.peak.double(),
            checks=checks,
        )

    @torch.no_grad()
    def simulate(
        self,
        signals: Sequence[TandemSignal],
        integers: IntegerParameters,
        *,
        unlimited: bool = False,
        checks: DeferredChecks | None = None,
    ) -> LayerActivity:
        """Run the integer neurons of this layer over the window.

        Args:
            signals: what comes in, for each of ``paths``.
            integers: this layer on the deployment grid.
            unlimited: run neurons whose registers have no end, and follow the largest state: what
                the membrane would need, not what the chip does.
            checks: as in ``forward``.

        Returns:
            Its spikes and counts, or its potential.

        Raises:
            NetworkError: a sum of one step can leave the chip's accumulator.
        """
        trains = [signal.train for signal in signals if signal.train is not None]
        device = trains[0].device
        interval = sum_intervals(
            [
                weighted_interval(weight, signal.largest)
                for weight, signal in zip(integers.weights, signals, strict=True)
            ]
        )
        neurons = NeuronParameters(
            bias=self.bias_image(integers.bias.to(device)),
            threshold=None,
            reset=self.options.reset,
            proven=unlimited,
            number=self.number,
            layer=self.name,
        )
        if self.fires:
            neurons = replace(
                neurons,
                current_decay=self.options.current_decay,
                voltage_decay=self.options.voltage_decay,
                firing_delay=self.options.firing_delay,
            )
        if checks is None:
            neurons = self._bounded(neurons, integers, interval, trains[0].sent, unlimited)
        else:
            neurons = self._watched(neurons, integers, interval, checks)
        incoming = [
            path.synapses.incoming(train, weight.to(device).float())
            for train, path, weight in zip(trains, self.paths, integers.weights, strict=True)
        ]
        return simulate_layer(incoming, neurons, self.options.num_steps, follow_peak=unlimited)

    def incoming(self, train: Train, weight: Tensor) -> Incoming:
        """Return what comes in through the main synapses.

        Args:
            train: what their source sends.
            weight: whole numbers in float32, where the train is.
        """
        synapse = partial(self.synaptic_input, weight=weight)
        if not self.options.phased:
            return Incoming(train, synapse)
        magnitude = partial(
            largest_magnitude, self.synaptic_input, weight=weight, groups=self.groups
        )
        return Incoming(train, synapse, magnitude)

    def _bounded(
        self,
        neurons: NeuronParameters,
        integers: IntegerParameters,
        interval: AnyInterval,
        sent: range | None,
        unlimited: bool,
    ) -> NeuronParameters:
        """Return neurons of which interval arithmetic says whether a state can leave 24 bits.

        Raises:
            InexactError: weights or biases are not whole.
            NetworkError: a sum of one step can leave the chip's accumulator.
        """
        for weight in integers.weights:
            if not torch.equal(weight, weight.round()):
                self.whole(weight, "weights")
        low, high = (self.whole(end, "sums of weights") for end in interval)
        if not unlimited:
            check_accumulator(self.name, (low, high))
        bounds = window_bounds(
            input_steps((low, high), self.options.num_steps, sent),
            self.whole(integers.bias, "biases"),
            integers.threshold,
            neurons.reset,
            neurons.current_decay,
            neurons.voltage_decay,
            neurons.firing_delay,
        )
        return replace(
            neurons,
            threshold=integers.threshold,
            proven=bounds.proven or unlimited,
            input_reach=reach((low, high)),
        )

    def _watched(
        self,
        neurons: NeuronParameters,
        integers: IntegerParameters,
        interval: AnyInterval,
        checks: DeferredChecks,
    ) -> NeuronParameters:
        """Return neurons of which it is seen afterwards whether a state has left 24 bits."""
        low, high = interval
        input_reach = torch.maximum(-low.min(), high.max())
        checks.fail_if(input_reach >= ACCUMULATOR_LIMIT)  # as ``bounds.beyond`` says
        return replace(
            neurons,
            threshold=integers.threshold_tensor,
            input_reach=input_reach,
            checks=checks,
        )

    def whole(self, parameters: Tensor, what: str) -> npt.NDArray[np.int64]:
        """Return parameters that are whole numbers as integers; ``what`` names them in an error."""
        return whole_numbers(parameters.cpu().numpy(), np.int64, f"layer {self.name}: {what}")


@dataclass(frozen=True)
class SynapticPath:
    """The synapses that one signal passes.

    Attributes:
        synapses: a layer, for its main synapses, or one of its skips.
        part: which of the signals that they take joined together it is.
    """

    synapses: TandemLayer
    part: int

    @property
    def real_weight(self) -> Tensor | None:
        """Real weights of the path, output channels first; None for one-to-one synapses."""
        whole = self.synapses.real_weight
        return None if whole is None else whole[:, self.synapses.parts[self.part]]

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> Synapses:
        """Return the path as a quantized network has it; see ``LayerKind.integer_synapses``."""
        found = self.synapses.integer_synapses(weight, input_shape)
        return replace(found, name=f"{found.name}.part{self.part + 1}") if self.part else found


def real_potential(potential: Tensor, integers: IntegerParameters) -> Tensor:
    """Return a readout's integer potential in real units, as it is returned.

    Args:
        potential: whole numbers of weight units.
        integers: whose unit counts.

    Returns:
        float32, of the same shape.
    """
    return (potential * integers.unit_tensor.to(potential.device)).to(torch.float32)


def _sum_of_twins(branches: Sequence[_Branch]) -> Tensor | None:
    total: Tensor | None = None
    for branch in branches:
        if branch.twin is not None:
            total = branch.twin if total is None else total + branch.twin
    return total
