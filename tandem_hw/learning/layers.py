"""Tandem layers: the integer network forward, the gradient of its ordinary twin backward.

A layer receives the counts and spikes of the layer below and does two things (paper, section III):

    SNN twin:  the integrate-and-fire neurons of ``tandem_hw.neurons`` on the integers of
               ``tandem_hw.learning.quantizer`` give spikes s[t] and counts c = sum over t of s[t].
    ANN twin:  a = (W c_in + b) / threshold on real weights builds the graph for the gradient.

The counts c then replace a in the forward pass; backward, the gradient of c is taken as that of a,
where 0 < a < T (``twin="clip"``) or where 0 < a (``twin="relu"``, the paper's). Nothing is
differentiated through time, so the memory of the backward pass does not grow with T. The twin knows
of no leak: with one, the forward pass is as exact, and the gradient that of a neuron without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.bounds import check_accumulator, input_steps, reach, synaptic_interval, window_bounds
from tandem_hw.fixed_point import DECAY_UNITY
from tandem_hw.learning.quantizer import IntegerParameters, quantize_layer
from tandem_hw.network import Reset
from tandem_hw.neurons import LayerActivity, NeuronParameters, SpikeTrain, simulate_layer
from tandem_hw.synapses import ConvGeometry, convolve, dense

Twin = Literal["clip", "relu"]


@dataclass(frozen=True)
class TandemSignal:
    """What passes between tandem layers.

    Attributes:
        counts: float32 [batch, *shape] with a gradient: what was sent in the window, in all.
        train: the same step by step, without a gradient.
        scale: real value of one count.
        largest: largest value that is sent in one step (1 for spikes).
    """

    counts: Tensor
    train: SpikeTrain
    scale: float
    largest: int = 1


@dataclass(frozen=True)
class SpikingOptions:
    """What all layers of one network share.

    Attributes:
        num_steps: length T of the window.
        reset: "subtract" or "zero".
        weight_bits: width of the signed weights, 2 to 8.
        twin: gradient mask, "clip" or "relu".
        activation_max: real activation at which a neuron fires in every step; the real value of one
            spike is activation_max / T.
        current_decay: what the current of firing layers loses a step, in 1/4096, with reset "zero".
        voltage_decay: what their voltage loses a step, in 1/4096, with reset "zero".
    """

    num_steps: int
    reset: Reset
    weight_bits: int = 8
    twin: Twin = "clip"
    activation_max: float = 2.0
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0

    @property
    def spike_value(self) -> float:
        """Real value of one spike, which is the real firing threshold."""
        return self.activation_max / self.num_steps


class _ReplaceByCount(torch.autograd.Function):
    """Forward the spike count, backward the gradient of the twin's activation."""

    @staticmethod
    def forward(ctx: Any, activation: Tensor, counts: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward((activation > 0) & (activation < ceiling))
        return counts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None, None


class _ReplaceValue(torch.autograd.Function):
    """Forward the integer network's value, backward the gradient of the twin's."""

    @staticmethod
    def forward(ctx: Any, twin: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


#: Told what the integer neurons of a layer did in a forward pass.
Observer = Callable[["TandemLayer", LayerActivity], None]


class TandemLayer(nn.Module):
    """Common part of ``TandemConv2d`` and ``TandemLinear``.

    Attributes:
        name: unique within the network.
        options: what the network's layers share.
        fires: False for a readout by potential.
    """

    def __init__(
        self,
        name: str,
        options: SpikingOptions,
        weight: Tensor,
        bias: Tensor | None,
        norm: nn.BatchNorm1d | nn.BatchNorm2d | None,
        fires: bool,
    ) -> None:
        super().__init__()
        self.name = name
        self.options = options
        self.fires = fires
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.norm = norm

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of integers, exactly."""
        raise NotImplementedError

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of counts with real weights, for the gradient."""
        raise NotImplementedError

    def bias_image(self, bias: Tensor) -> Tensor:
        """Give a per-channel vector the axes to broadcast over this layer's output."""
        raise NotImplementedError

    def forward(
        self, signal: TandemSignal, observe: Observer | None = None
    ) -> TandemSignal | Tensor:
        """Run both twins.

        Args:
            signal: what the layer below sends.
            observe: told what the spiking twin did.

        Returns:
            A ``TandemSignal`` of a firing layer; of a readout its potential in real units, float32
            [batch, out].
        """
        twin, integers = self._twin(signal)
        activity = self.simulate(signal, integers)
        if observe is not None:
            observe(self, activity)
        if activity.potential is not None:
            value = (activity.potential * integers.unit).to(twin.dtype)
            logits: Tensor = _ReplaceValue.apply(twin, value)  # type: ignore[no-untyped-call]
            return logits
        assert activity.counts is not None  # it fires
        assert activity.spikes is not None
        options = self.options
        ceiling = float(options.num_steps) if options.twin == "clip" else float("inf")
        counts = _ReplaceByCount.apply(  # type: ignore[no-untyped-call]
            twin / options.spike_value, activity.counts, ceiling
        )
        return TandemSignal(counts, SpikeTrain(activity.spikes), options.spike_value)

    def _twin(self, signal: TandemSignal) -> tuple[Tensor, IntegerParameters]:
        """Return the twin's real pre-activation and the integers that the spiking layer runs on."""
        if not torch.is_grad_enabled() and not self.training:
            # Evaluation needs the integers alone; the twin's value is replaced in any case.
            return self.weight.new_zeros(()), self.integer_parameters(signal.scale)
        total = self.twin_input(signal.counts, self.weight * signal.scale)
        if self.bias is not None:
            total = total + self.bias_image(self.bias)
        if self.norm is None or not self.training:
            integers = self.integer_parameters(signal.scale)
            return (total if self.norm is None else self.norm(total)), integers
        return self._normalised(total, self.norm, signal.scale)

    def _normalised(
        self, total: Tensor, norm: nn.BatchNorm1d | nn.BatchNorm2d, scale: float
    ) -> tuple[Tensor, IntegerParameters]:
        """Normalise by the batch's statistics and fold the same statistics into the integers."""
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
        integers = self._integers(scale, mean.double(), inverse_deviation.double())
        return twin, integers

    @torch.no_grad()
    def integer_parameters(self, input_scale: float) -> IntegerParameters:
        """Return the integers that are exported, computed on the CPU in float64 on every machine.

        Args:
            input_scale: real value of one incoming count.

        Returns:
            Weights, bias and threshold on the deployment grid, on the CPU.
        """
        if self.norm is None:
            return self._integers(input_scale, None, None, torch.device("cpu"))
        assert self.norm.running_mean is not None  # conversion saw to it
        assert self.norm.running_var is not None
        mean = self.norm.running_mean.cpu().double()
        deviation = (self.norm.running_var.cpu().double() + self.norm.eps).sqrt()
        return self._integers(input_scale, mean, 1 / deviation, torch.device("cpu"))

    @torch.no_grad()
    def _integers(
        self,
        input_scale: float,
        mean: Tensor | None,
        inverse_deviation: Tensor | None,
        device: torch.device | None = None,
    ) -> IntegerParameters:
        """Fold the statistics into weights and bias and quantize them."""
        device = device or self.weight.device
        weight = self.weight.to(device).double()
        bias = weight.new_zeros(weight.shape[0])
        if self.bias is not None:
            bias = self.bias.to(device).double()
        if self.norm is not None and mean is not None and inverse_deviation is not None:
            gain = inverse_deviation
            if self.norm.weight is not None:
                gain = gain * self.norm.weight.to(device).double()
            bias = (bias - mean) * gain
            if self.norm.bias is not None:
                bias = bias + self.norm.bias.to(device).double()
            weight = weight * gain.reshape(-1, *([1] * (weight.dim() - 1)))
        if self.fires and self.options.reset == "zero":
            bias = bias / self.options.num_steps  # it acts in every step, the total is the same
        return quantize_layer(
            weight,
            bias,
            input_scale=input_scale,
            real_threshold=self.options.spike_value if self.fires else None,
            weight_bits=self.options.weight_bits,
            name=self.name,
        )

    @torch.no_grad()
    def simulate(self, signal: TandemSignal, integers: IntegerParameters) -> LayerActivity:
        """Run the integer neurons of this layer over the window.

        Args:
            signal: what the layer below sends.
            integers: this layer on the deployment grid.

        Returns:
            Its spikes and counts, or its potential.

        Raises:
            NetworkError: a sum of one step can leave the chip's accumulator.
        """
        device = signal.train.signal.device
        weight = integers.weight.to(device, torch.float32)
        interval = synaptic_interval(integers.weight.cpu().numpy(), signal.largest)
        check_accumulator(self.name, interval)
        steps = input_steps(interval, self.options.num_steps, signal.train.encoding or False)
        bias = integers.bias.cpu().numpy().astype(np.int64)
        leak: dict[str, int] = {}
        if self.fires:
            leak["current_decay"] = self.options.current_decay
            leak["voltage_decay"] = self.options.voltage_decay
        bounds = window_bounds(steps, bias, integers.threshold, self.options.reset, **leak)
        neurons = NeuronParameters(
            bias=self.bias_image(integers.bias.to(device)),
            threshold=integers.threshold,
            reset=self.options.reset,
            proven=bounds.proven,
            input_reach=reach(interval),
            **leak,
        )
        return simulate_layer(
            signal.train,
            lambda step: self.synaptic_input(step, weight),
            neurons,
            self.options.num_steps,
        )


class TandemConv2d(TandemLayer):
    """Tandem layer of a convolution; weights [out, in / groups, kernel_h, kernel_w]."""

    def __init__(self, *arguments: Any, geometry: ConvGeometry) -> None:
        super().__init__(*arguments)
        self.geometry = geometry

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of a signal [batch, in, height, width]."""
        return convolve(signal, weight, self.geometry)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of real weights by the device's fastest algorithm."""
        geometry = self.geometry
        return F.conv2d(
            counts,
            weight,
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.groups,
        )

    def bias_image(self, bias: Tensor) -> Tensor:
        """Shape a per-channel vector [out] as [out, 1, 1]."""
        return bias.reshape(-1, 1, 1)


class TandemLinear(TandemLayer):
    """Tandem layer of an ordinary linear layer; weights [out, in]."""

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return W s; a signal of images is flattened."""
        return dense(signal, weight)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return W c; counts of images are flattened."""
        return dense(counts, weight)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Return the vector itself."""
        return bias


class TandemDropout(nn.Module):
    """Dropout for whole windows: a dropped neuron sends nothing in any step.

    The counts stay integers, so the compensation 1 / (1 - p) goes into the real value of a count,
    which the next layer folds into its weights.

    Attributes:
        p: probability of dropping a neuron, 0 to below 1.
        channels: drop whole channels, as ``torch.nn.Dropout2d`` does.
    """

    def __init__(self, p: float, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels

    def forward(self, signal: TandemSignal) -> TandemSignal:
        """Drop neurons in training; do nothing in evaluation."""
        if not self.training or self.p == 0:
            return signal
        counts = signal.counts
        shape = counts.shape[:2] + (1,) * (counts.dim() - 2) if self.channels else counts.shape
        kept = torch.rand(shape, device=counts.device) >= self.p
        train = replace(signal.train, signal=signal.train.signal * kept)
        return replace(signal, counts=counts * kept, train=train, scale=signal.scale / (1 - self.p))
