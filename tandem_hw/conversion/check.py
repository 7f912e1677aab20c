"""Compares a converted network with the ordinary one, layer by layer, on what PyTorch computed.

Each layer's ordinary twin gets what the ordinary network had where its signals come from, and must
give what the ordinary network had behind it. Layers that agree one by one agree as a whole.

A weighted sum of n terms in floating-point numbers, in whatever order, is off by at most about

    n eps sum over i of |w_i x_i|

(N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section 4.2), which the
same layer gives on magnitudes. What differs by more is another function.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call  # type: ignore[attr-defined]

from tandem_hw.conversion.borrowed_network import borrowed, device_of, dtype_of
from tandem_hw.conversion.forward_recorder import ForwardError
from tandem_hw.conversion.graph_reader import read_network
from tandem_hw.conversion.read_values import ReadNetwork, WeightOrigin
from tandem_hw.errors import ConversionError
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.signals import TandemSignal, along_channels
from tandem_hw.network.quantized import InputSpec, Readout

#: Samples of the first runs; two numbers, so that a forward pass with one written into it fails.
_SAMPLES: Final = (3, 2)
#: Samples of the last run, which is larger, where it takes at most so many multiplications.
_MANY: Final = 33
_MULTIPLICATIONS: Final = 1 << 29
#: Of the user's own samples, so many are looked at.
_OWN_SAMPLES: Final = 4
#: Terms that batch normalisation and bias add to a sum.
_FURTHER_TERMS: Final = 8
#: Both sides round, and some convolutions more often than a plain sum does.
_SLACK: Final = 4
#: An activation_max with which no activation reaches the ceiling.
_NO_CEILING: Final = 1e30
_SEED: Final = 9


def read_as_it_is(
    network: nn.Module, spec: InputSpec, readout: Readout, *, check: bool, pools_maxima: bool
) -> ReadNetwork:
    """Read an ordinary network with the weights that are in effect.

    Args:
        network: an ordinary network; left as it is.
        spec: what goes in.
        readout: "potential" or "count".
        check: refuse what is read as leaving values as they are, but changes them.
        pools_maxima: whether the network's neurons can do a max pooling.

    Raises:
        ConversionError: names all that has no exact counterpart.
    """
    with borrowed(network, dtype_of(network)):
        batch = batch_for(network, spec)
        return read_network(network, batch, readout, check=check, pools_maxima=pools_maxima)


def batch_for(network: nn.Module, spec: InputSpec) -> Tensor:
    """Return a few random samples that a network is read on, of its type and on its device."""
    return _real(spec, _integers(spec, _SAMPLES[0], _SEED), network, dtype_of(network))


def check_conversion(
    network: nn.Module,
    model: TandemNetwork,
    found: ReadNetwork,
    readout: Readout,
    samples: Tensor | None = None,
) -> None:
    """Refuse a conversion that computes something else than the ordinary network does.

    The model is compared as it is, and twice more in float64 where the network runs in it, on other
    inputs and with random values for tensors that are all zeros or ones, which may hide something.
    The last of these runs takes more samples, dark, bright and half bright ones among them.

    Args:
        network: the ordinary network; left as it is.
        model: what it was converted to; left as it is.
        found: what was read of the network.
        readout: "potential" or "count".
        samples: integers of the user's, uint8 [samples, *sample_shape]; some are looked at as well.

    Raises:
        ConversionError: names the first layer that differs.
    """
    was_training = model.training
    model.eval()
    try:
        _compare(network, model, found, None)
        spec = model.architecture.input
        batches = [
            _integers(spec, _SAMPLES[1], 1),
            _telling_integers(spec, _further_samples(model, found), samples),
        ]
        for varied in _read_varied(network, spec, batches, readout):
            _check_same_layers(found, varied)
            _compare(network, model, varied, varied.weight_origins)
    finally:
        model.train(was_training)


def _integers(spec: InputSpec, samples: int, seed: int) -> Tensor:
    """Return random integer inputs."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spec.largest + 1, (samples, *spec.shape), generator=generator)


def _telling_integers(spec: InputSpec, further: int, samples: Tensor | None) -> Tensor:
    """Return inputs that a forward pass may treat in another way than noise, and some noise."""
    told = torch.zeros((4, *spec.shape), dtype=torch.int64)
    flat = told.view(4, -1)
    middle = flat.shape[1] // 2
    flat[1] = flat[2, :middle] = flat[3, middle] = spec.largest
    parts = [told]
    if samples is not None:
        own = samples.reshape(-1, *spec.shape)
        parts.append(own[:: -(-len(own) // _OWN_SAMPLES)].cpu().to(torch.int64))
    return torch.cat([*parts, _integers(spec, further, 2)])


def _further_samples(model: TandemNetwork, found: ReadNetwork) -> int:
    """Return how many more samples the last run takes; none where the network is large."""
    work = sum(
        _terms(layer) * result[0].numel()
        for layer, result in zip(model.layers, found.results, strict=True)
        if isinstance(layer, TandemLayer)
    )
    return _MANY if work * _MANY <= _MULTIPLICATIONS else 0


def _real(spec: InputSpec, integers: Tensor, network: nn.Module, dtype: torch.dtype) -> Tensor:
    """Return the real values of integer inputs."""
    return (integers.to(dtype) * spec.scale).to(device_of(network))


def _read_varied(
    network: nn.Module, spec: InputSpec, batches: list[Tensor], readout: Readout
) -> list[ReadNetwork]:
    """Read a network on batches with other values in constant tensors; none if it runs not so."""
    generator = torch.Generator().manual_seed(_SEED)

    def vary(tensor: Tensor, is_buffer: bool) -> Tensor:
        if not tensor.numel() or bool((tensor != tensor.flatten()[0]).any()):
            return tensor
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        if is_buffer:  # a variance stays positive
            return tensor.abs() + noise.abs()
        other = tensor + noise / 2
        # So does the weight of a normalisation, behind which a maximum is one before it.
        return other.abs() if bool((tensor > 0).all()) else other

    for dtype in (torch.float64, dtype_of(network)):
        real = [_real(spec, batch, network, dtype) for batch in batches]
        try:
            with borrowed(network, dtype, vary):
                varied = [read_network(network, batch, readout) for batch in real]
        except ForwardError:
            continue
        _check_same_weights(*varied)
        return varied
    return []


def _check_same_weights(first: ReadNetwork, second: ReadNetwork) -> None:
    """Refuse weights that depend on what comes in, or on chance."""
    _check_same_layers(first, second)
    pairs = zip(chain(*first.weight_origins), chain(*second.weight_origins), strict=True)
    for one, other in pairs:
        for name, value in one.parameters.items():
            if not torch.equal(value, other.parameters[name]):
                raise ConversionError(
                    f"layer {one.path} has another {name} each time the network runs; weights may "
                    f"depend on parameters alone, not on what comes in, on chance or on a memory"
                )


def _check_same_layers(first: ReadNetwork, second: ReadNetwork) -> None:
    if first.layers != second.layers:
        raise ConversionError(
            "the forward pass gives other layers when it runs again; it may depend on nothing but "
            "its input and its parameters, and not on how many samples there are"
        )


@torch.no_grad()
def _compare(
    network: nn.Module,
    model: TandemNetwork,
    found: ReadNetwork,
    origins: list[tuple[WeightOrigin, ...]] | None,
) -> None:
    """Compare layer by layer, with the weights of these origins or with the model's own."""
    number = 0
    for index, layer in enumerate(model.layers):
        wanted = found.results[index]
        if isinstance(layer, TandemMaxPool):
            (source,) = model.sources(index)
            given = layer(TandemSignal(found.behind(source), None, 1.0)).counts
            _check_equal(network, found.paths[index], given, wanted, torch.zeros(()))
        if not isinstance(layer, TandemLayer):
            continue
        if layer.fires:
            wanted = wanted.relu()  # a last layer that is counted
        inputs = [found.behind(source) for source in model.sources(index)]
        parameters = dict(layer.state_dict())
        eps = torch.finfo(torch.float32).eps
        if origins is not None:
            parameters |= _parameters(origins[number])
            eps = torch.finfo(wanted.dtype).eps
        parameters = {
            name: value.to(wanted.dtype) if value.is_floating_point() else value
            for name, value in parameters.items()
        }
        given = _twin(layer, inputs, parameters)
        terms = _magnitudes(parameters) | {
            name: value.to(wanted.dtype)
            for name, value in _bias_terms(found.weight_origins[number]).items()
        }
        magnitudes = _twin(layer, [one.abs() for one in inputs], terms)
        allowed = _SLACK * _terms(layer) * eps * magnitudes
        _check_equal(network, found.paths[index], given, wanted, allowed)
        number += 1


def _check_equal(
    network: nn.Module, path: str, given: Tensor, wanted: Tensor, allowed: Tensor
) -> None:
    """Refuse a layer whose values differ from the network's by more than is allowed."""
    difference = (given - wanted.reshape(given.shape)).abs()
    off = ~(difference <= allowed.to(difference.device))
    if off.any():
        raise ConversionError(
            f"layer {path} computes something else in the network than what it is read as: "
            f"{int(off.sum())} of {off.numel()} values differ, by up to "
            f"{float(difference.max()):.2g} where the largest is {float(wanted.abs().max()):.2g}"
            f"{_own_code(network)}; remove what changes them before you convert, or pass "
            f"check=False to convert what was read"
        )


def _parameters(origins: Sequence[WeightOrigin]) -> dict[str, Tensor]:
    """Name the parameters of a layer and its skips as its state does."""
    return {
        f"{_place(number)}{name}": value
        for number, origin in enumerate(origins)
        for name, value in origin.parameters.items()
    }


def _bias_terms(origins: Sequence[WeightOrigin]) -> dict[str, Tensor]:
    """Name the magnitudes of what biases were computed from as the biases are."""
    return {
        f"{_place(number)}bias": origin.bias_terms
        for number, origin in enumerate(origins)
        if origin.bias_terms is not None
    }


def _place(number: int) -> str:
    return f"skips.{number - 1}." if number else ""


def _magnitudes(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters with which a layer gives the sum of the magnitudes of its terms."""
    return {
        name: -value.abs() if name.endswith("running_mean") else value.abs()
        for name, value in parameters.items()
    }


def _twin(layer: TandemLayer, inputs: list[Tensor], parameters: dict[str, Tensor]) -> Tensor:
    """Run a layer's ordinary twin, without a ceiling, on real values."""
    no_ceiling = torch.full_like(parameters["activation_max"], _NO_CEILING)
    signals = [TandemSignal(one, None, 1.0) for one in inputs]
    parameters = parameters | {"activation_max": no_ceiling}
    result = functional_call(layer, parameters, (signals,), {"spiking": False})
    if isinstance(result, Tensor):
        return result
    values: Tensor = result.counts * along_channels(result.scale, result.counts)
    return values


def _terms(layer: TandemLayer) -> int:
    """Return how many terms the sum of one neuron has."""
    weights = [synapses.weight for synapses in layer.synapses]
    return sum(1 if weight is None else weight[0].numel() for weight in weights) + _FURTHER_TERMS


def _own_code(network: nn.Module) -> str:
    """Name what may change the values of a network's layers."""
    found = [
        f"{path or '0'} ({type(module).__name__}): {_name(hook)}"
        for path, module in network.named_modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if not type(hook).__module__.startswith("torch.nn.utils")
    ]
    listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    return f"; it has hooks, on {listed}" if found else ""


def _name(hook: object) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
