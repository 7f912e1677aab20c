"""From an ordinary network to a tandem network with the same weights."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from tandem_hw.conversion.borrowed_network import device_of, unwrapped
from tandem_hw.conversion.check import check_conversion, read_as_it_is
from tandem_hw.conversion.fidelity import warn_of_loss
from tandem_hw.conversion.layer_reader import NORMS, SUPPORTED, check_finite
from tandem_hw.conversion.read_values import ReadNetwork
from tandem_hw.data.integers import training_integers
from tandem_hw.data.own.torch_objects import given_dataset
from tandem_hw.errors import ConversionError, DataError, NetworkError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.architecture import Architecture
from tandem_hw.learning.calibration import calibrate, check_samples, starting_potential
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool, can_pool_maxima
from tandem_hw.learning.layers import SpikingOptions, TandemLayer, Twin
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.per_layer.assignment import with_channel_thresholds, with_widths
from tandem_hw.learning.per_layer.widths import WeightBits, common_width
from tandem_hw.learning.precision import check_network_precision
from tandem_hw.network.choices import Phased, default_encoding, steps_of_delay
from tandem_hw.network.fixed_point import DECAY_UNITY
from tandem_hw.network.inputs import default_scale
from tandem_hw.network.quantized import Encoding, InputSpec, Readout, Reset
from tandem_hw.user_warnings import ConversionWarning, warn_caller

__all__ = ["SUPPORTED", "convert"]

#: Samples of a data set that a network is measured on.
_SAMPLES: Final = 1024


def convert(
    network: nn.Module,
    *,
    input_shape: tuple[int, ...],
    num_steps: int,
    reset: Reset = "subtract",
    weight_bits: WeightBits = 8,
    input_bits: int = 4,
    encoding: Encoding | None = None,
    readout: Readout = "potential",
    twin: Twin = "clip",
    activation_max: float = 2.0,
    current_decay: int = DECAY_UNITY,
    voltage_decay: int = 0,
    initial_potential: float | None = None,
    learn_thresholds: bool = False,
    thresholds_per_channel: bool = False,
    firing_delay: int | Phased = 0,
    samples: Any = None,
    percentile: float | None = None,
    check: bool = True,
) -> TandemNetwork:
    """Turn an ordinary network into a spiking one that trains on its deployed integers.

    Every ReLU becomes integrate-and-fire neurons whose spike count c stands for the activation
    c * activation_max / num_steps. Batch normalisation is kept and folded into the integers of
    every forward pass. The weights are copied as they are in effect, behind parametrizations and
    pruning, as float32; the given network is left as it is.

    The network runs three times on a few samples in evaluation mode, random, dark, bright and your
    own: it is read while it runs, and the converted layers must compute what it computed. The fresh
    model is frozen once, so that what cannot be deployed is refused before it is trained.
    Parameters with ``requires_grad`` off are copied like the others and come back trainable.

    Args:
        network: any module made of convolutions (one or two axes, grouped, transposed), fully
            connected layers, each with batch normalisation or without, additions, concatenation
            along channels, ReLU with a ceiling or without, average pooling, max pooling (where it
            is phased), dropout and flattening. Every sum of layers but the last is followed by a
            ReLU; spikes are added to one before its ReLU, as in a residual block. A pooling before
            a fully connected layer is folded into its weights, elsewhere it gets neurons of its
            own. A softmax at the very end is left out, with a ``ConversionWarning``.
        input_shape: shape of one sample, (channels, height, width) or (features,).
        num_steps: length T of the window, at least 1.
        reset: "subtract" (the paper's neuron) or "zero".
        weight_bits: width of the signed weights, 2 to 8; one for each layer with weights, in order,
            or by a layer's name (``tandem_hw.learning.per_layer.widths``).
        input_bits: width of the unsigned inputs, 1 to 8.
        encoding: how samples are sent, see ``tandem_hw.network.choices``: "first_step" sends the
            input once, "constant" in every step; with "events" a sample holds every step,
            [num_steps, *input_shape]. By default the first with reset "subtract" and the second
            with "zero", where a neuron forgets at its first spike what was left of a charge that
            came at once.
        readout: "potential" of the last layer at the window's end, or its spike "count".
        twin: gradient mask, "clip" (0 < a < T) or "relu" (0 < a, the paper's).
        activation_max: activation at which a neuron fires in every step. Activations after batch
            normalisation have a standard deviation of about 1, which suits the default. With
            samples every layer's is measured; this one is kept by layers that are silent on them.
        current_decay: with reset "zero", what the current of firing neurons loses a step, in
            1/4096; 4096 forgets it at once, less makes a synaptic input act for several steps.
        voltage_decay: with reset "zero", what their voltage loses a step, in 1/4096; 0 is no leak.
            With a leak the gradient is that of neurons without, while the forward pass is exact.
        initial_potential: with reset "subtract", share of the threshold that a window starts from:
            with 0.5 a count is the activation rounded to the nearest, with 0 rounded down. By
            default 0.5 where samples are given and the reset is "subtract", otherwise 0.
        learn_thresholds: train ``activation_max`` of every layer along with its weights.
        thresholds_per_channel: let each channel have an ``activation_max`` of its own, in layers
            whose spikes are not added as they are; on the chip a layer still has one threshold.
        firing_delay: with reset "subtract", steps that a layer waits before its first spike, 0 to
            num_steps - 1, the last of which is called "phased": a layer then takes in everything
            before it fires, and the network computes what a quantized ReLU network does. A sample
            takes firing_delay steps more in every layer.
        check: compare the converted layers with what the network computes, hooks included; without,
            what was read is converted as it is.
        samples: some hundred training samples as the model takes them, uint8
            [samples, *sample_shape], integers of ``input_bits`` that ``tandem_hw.quantize_inputs``
            makes; or a data set, of tandem-hw or as ``tandem_hw.torch_dataset`` takes it, of whose
            training part 1024 samples are taken. Every layer's ``activation_max`` and the room for
            its potentials are measured on them (``tandem_hw.learning.calibration.calibrate``), so
            that a network whose weights are trained can be frozen as it is; if it then gives other
            results than the ordinary one, a ``ConversionWarning`` says for how many. Without them a
            training has to follow.
        percentile: with samples, share of the positive activations in per cent that a neuron can
            send; by default each layer's ceiling is the one of the least squared error.

    Returns:
        The tandem network, in training mode.

    Raises:
        ConversionError: layers or options have no exact counterpart; the message names all of them
            and says what is supported. Or a layer computes something else than what it is read as,
            the model could not be frozen, or the samples are not what the model takes.
        DataError: a data set given as samples does not fit the network, or cannot be read.
        TypeError: the samples are a text or something else that holds none.
    """
    if percentile is not None and samples is None:
        raise ConversionError("percentile says how samples are looked at; give samples as well")
    if initial_potential is None:
        initial_potential = 0.0 if samples is None else starting_potential(reset)
    if encoding is None:
        encoding = default_encoding(reset)
    spec = input_spec(input_shape, input_bits, encoding)
    options = SpikingOptions(
        num_steps=num_steps,
        reset=reset,
        weight_bits=common_width(weight_bits),
        twin=twin,
        activation_max=activation_max,
        current_decay=current_decay,
        voltage_decay=voltage_decay,
        initial_potential=initial_potential,
        learn_thresholds=learn_thresholds,
        firing_delay=steps_of_delay(firing_delay, num_steps, ConversionError),
    )
    network = unwrapped(network)
    if samples is not None and not isinstance(samples, Tensor | np.ndarray | list):
        dataset = given_dataset(samples, "convert(samples=...)")
        samples = training_integers(dataset, spec, num_steps, _SAMPLES)
    check_network_precision(network)
    for path, module in network.named_modules():
        check_finite(path or "0", module, dict(module.named_parameters(recurse=False)))
        if isinstance(module, NORMS):
            check_finite(path or "0", module, dict(module.named_buffers(recurse=False)))
    found = read_as_it_is(
        network, spec, readout, check=check, pools_maxima=can_pool_maxima(options)
    )
    layers = with_widths(found.layers, weight_bits)
    if thresholds_per_channel:
        layers = with_channel_thresholds(layers)
    model = TandemNetwork(Architecture(spec, options, layers, readout))
    _copy_parameters(model, found)
    model.to(device_of(network))
    if samples is not None:
        samples = check_samples(model, samples)
    if check:
        check_conversion(network, model, found, readout, samples)
    _check_export(model, found)
    if samples is not None:
        calibrate(model, samples, percentile)
        _check_export(model, found)
        warn_of_loss(model, samples)
    if found.folded:
        warn_caller(
            f"{', '.join(dict.fromkeys(found.folded))} follows no layer with weights, so it is "
            f"folded once, with its running statistics, into the layer behind it, and a training "
            f"goes on without it; put it before the ReLU to train with it",
            ConversionWarning,
        )
    if found.dropped:
        warn_caller(
            f"{found.dropped} at the end of the network is left out: the model returns its logits, "
            f"so train it with a loss that takes them (cross_entropy)",
            ConversionWarning,
        )
    return model


def input_spec(shape: tuple[int, ...], bits: int, encoding: Encoding) -> InputSpec:
    """Describe the input of a network.

    Raises:
        ConversionError: there is no such shape, or no such width.
    """
    if not isinstance(shape, Iterable):
        raise ConversionError(
            f"input_shape is {shape!r}; give the shape of one sample as a tuple, such as ({shape},)"
        )
    try:
        sizes = tuple(operator.index(size) for size in shape)
        return InputSpec(sizes, operator.index(bits), default_scale(bits), encoding)
    except (DataError, NetworkError) as error:
        raise ConversionError(str(error)) from error
    except TypeError as error:
        raise ConversionError(
            f"input_shape is {shape} and input_bits {bits}; both must be whole numbers"
        ) from error


@torch.no_grad()
def _copy_parameters(model: TandemNetwork, found: ReadNetwork) -> None:
    """Copy weights, biases and normalisations of the ordinary layers."""
    for layer, origins in zip(model.tandem_layers, found.weight_origins, strict=True):
        for synapses, origin in zip(layer.synapses, origins, strict=True):
            state = synapses.state_dict()
            for name, value in origin.parameters.items():
                state[name].copy_(value)


def _check_export(model: TandemNetwork, found: ReadNetwork) -> None:
    """Find before the training what would be refused after it."""
    try:
        integer_network(model)
    except NetworkError as error:
        paths = {
            layer.name: path
            for layer, path in zip(model.layers, found.paths, strict=True)
            if isinstance(layer, TandemLayer | TandemMaxPool)
        }
        named = re.findall(r"\w+", str(error))
        where = ", ".join(f"{name} is {paths[name]}" for name in paths if name in named)
        raise ConversionError(
            f"the network could not be deployed: {error}{f' ({where})' if where else ''}"
        ) from error
