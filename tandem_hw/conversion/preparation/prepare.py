"""From a network as it is to one that can be converted, with a table of what that takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from tandem_hw.conversion.borrowed_network import borrowed, device_of, dtype_of, unwrapped
from tandem_hw.conversion.check import batch_for
from tandem_hw.conversion.convert import convert, input_spec
from tandem_hw.conversion.graph_reader import refusals_of
from tandem_hw.conversion.layer_reader import MAX_POOLS
from tandem_hw.conversion.preparation.output_difference import OutputDifference, difference_of
from tandem_hw.conversion.preparation.preparation import Outcome, Preparation, Step
from tandem_hw.conversion.preparation.probing_reader import Met, ProbingReader
from tandem_hw.conversion.preparation.swaps import (
    Activations,
    MaxPooling,
    Place,
    Swap,
    Wishes,
    further_wish,
    swap_for,
)
from tandem_hw.errors import ConversionError
from tandem_hw.network.choices import PHASED, default_encoding
from tandem_hw.network.quantized import InputSpec, Readout
from tandem_hw.user_warnings import TandemWarning

#: Width of the inputs of the trial conversion, which nothing here depends on.
_INPUT_BITS: Final = 4
#: Random samples that are compared where none are given.
_SAMPLES: Final = 64
_SEED: Final = 5
#: A class and its options are shown by so many characters.
_SHOWN: Final = 28


def prepare(
    network: nn.Module,
    *,
    input_shape: tuple[int, ...],
    num_steps: int = 7,
    readout: Readout = "potential",
    activations: Activations = "keep",
    max_pooling: MaxPooling = "phased",
    samples: Tensor | npt.NDArray[np.floating[Any]] | None = None,
) -> Preparation:
    """Find all that it takes to convert a network, and swap what has an equivalent.

    All refusals are listed at once, those behind other refused layers too. What computes the same
    is swapped in a copy: an adaptive max pooling whose windows are of one size, a LeakyReLU or
    PReLU without a slope, a SyncBatchNorm, a batch normalisation without a momentum, an enlargement
    by repeated values behind a ReLU, an alpha dropout, a sigmoid at the very end (which is left
    out). What computes something else is swapped only if it is asked for. The outputs before and
    after are compared, both as ordinary PyTorch. All weights are kept.

    Args:
        network: any module; left as it is.
        input_shape: shape of one sample, (channels, height, width) or (features,).
        num_steps: length T of the window that the conversion is tried with; 2 at least where there
            is a max pooling.
        readout: "potential" or "count", as for ``convert``.
        activations: "relu" puts a ReLU in the place of LeakyReLU, PReLU, RReLU, ELU, CELU, SELU,
            GELU, SiLU, Mish, Softplus and Hardswish, and lets a Hardtanh begin at 0. The network
            needs some training after that.
        max_pooling: "phased" keeps maxima, which are exact in a phased network (``options`` then
            have it); "average" puts an average over the same windows in their place.
        samples: real numbers as the network takes them, [samples, *input_shape], on which outputs
            are compared; without, random ones from 0 to 1.

    Returns:
        The changed copy, what to call ``convert`` with, and a table, which ``print`` shows.

    Raises:
        ConversionError: it is no module, cannot be copied, does not take such samples, has values
            that are not finite, or the samples are of another shape.
    """
    wishes = _checked(activations, max_pooling)
    spec = input_spec(input_shape, _INPUT_BITS, default_encoding("subtract"))
    given = unwrapped(network)
    probed = _checked_samples(samples, spec)
    changed = _copied(given)
    for name, parameter in changed.named_parameters():
        if parameter.is_floating_point() and not parameter.isfinite().all():
            raise ConversionError(
                f"parameter {name} is infinite or not a number; start from an earlier state of its "
                f"training"
            )
    if dtype_of(changed) == torch.float32:
        changed.float()  # of what is shorter every value is one
    before = after = _probed(changed, spec, readout)
    swaps: dict[str, Swap] = {}
    # An activation that is swapped may be what lets a layer behind it be.
    end: nn.Module = nn.Identity()
    while found := _swaps(after.seen, wishes, swaps):
        changed = _swapped(changed, after.seen, found)
        end = _left_out(after.seen, found) or end
        swaps |= found
        after = _probed(changed, spec, readout)
    options: dict[str, Any] = {"input_shape": spec.shape, "num_steps": num_steps}
    if readout != "potential":
        options["readout"] = readout
    if after.pools_maxima:
        options["firing_delay"] = PHASED
    return Preparation(
        network=changed,
        options=options,
        steps=tuple(_steps(before.seen, after.seen, swaps)),
        refusals=after.refusals or _refusals_of_a_trial(changed, options),
        difference=_difference(given, changed, end, probed, spec),
    )


def _checked(activations: str, max_pooling: str) -> Wishes:
    for name, found, allowed in (
        ("activations", activations, get_args(Activations)),
        ("max_pooling", max_pooling, get_args(MaxPooling)),
    ):
        if found not in allowed:
            raise ConversionError(f'{name} is "{found}"; allowed are {", ".join(allowed)}')
    return Wishes(activations, max_pooling)  # type: ignore[arg-type]  # looked at above


def _checked_samples(samples: Any, spec: InputSpec) -> Tensor | None:
    """Return samples as a tensor of real numbers."""
    if samples is None:
        return None
    wanted = (
        f"give real numbers as the ordinary network takes them, at least one, "
        f"[samples, {', '.join(map(str, spec.shape))}]"
    )
    try:
        found = torch.as_tensor(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConversionError(
            f"samples are {type(samples).__name__}, which is no tensor of numbers; {wanted}"
        ) from error
    if tuple(found.shape[1:]) != spec.shape or not len(found) or not found.is_floating_point():
        raise ConversionError(f"samples are {found.dtype} {tuple(found.shape)}; {wanted}")
    if found.layout != torch.strided or found.is_meta:
        raise ConversionError(f"samples are {found.layout} on {found.device}; {wanted}")
    if not found.isfinite().all():
        raise ConversionError(f"samples hold values that are infinite or not a number; {wanted}")
    return found


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network, _computed_tensors(network))
    except Exception as error:  # whatever the user's own classes raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConversionError(
            f"the network cannot be copied ({reason}), and prepare changes nothing of yours; let "
            f"copy.deepcopy(network) work, or make a fresh network and load its state_dict"
        ) from error


def _computed_tensors(network: nn.Module) -> dict[int, Any]:
    """Return copies of what modules have computed of their parameters, as ``deepcopy`` takes them.

    Pruning and older forms of weight normalisation keep such tensors as attributes, and compute
    them anew in a hook before each forward pass; deepcopy alone refuses them.
    """
    computed = (
        value
        for module in network.modules()
        if module._forward_pre_hooks
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    )
    return {id(tensor): tensor.detach().clone() for tensor in computed}


@dataclass(frozen=True)
class _Probe:
    """What a forward pass comes to, all that is refused of it, and whether it pools maxima."""

    seen: list[Met]
    refusals: tuple[str, ...]
    pools_maxima: bool


def _probed(network: nn.Module, spec: InputSpec, readout: Readout) -> _Probe:
    with borrowed(network, dtype_of(network)):
        batch = batch_for(network, spec)
        reader = ProbingReader(batch, pools_maxima=True)
        refusals = refusals_of(reader, network, batch, readout)
    return _Probe(reader.seen, tuple(refusals), reader.pools_some_maxima)


def _swaps(seen: list[Met], wishes: Wishes, done: Mapping[str, Swap]) -> dict[str, Swap]:
    """Return what else is to be swapped, by the paths of the layers."""
    places = _places(seen)
    swaps: dict[str, Swap] = {}
    made: dict[int, Swap] = {}
    for met in seen:
        if met.module is None or met.path in done:
            continue
        place = places.get(id(met.module))
        swap = made.get(id(met.module)) or swap_for(met.module, place, wishes)
        if swap is not None:
            swaps[met.path] = made[id(met.module)] = swap
    return swaps


def _swapped(network: nn.Module, seen: list[Met], swaps: Mapping[str, Swap]) -> nn.Module:
    """Make swaps in a network, wherever it has the layers, and return it."""
    new = {id(met.module): swaps[met.path].module for met in seen if met.path in swaps}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if id(module) not in new:
            continue
        layer: nn.Module = new[id(module)].to(device_of(network), dtype_of(network))
        if not name:
            return layer
        owner, _, last = name.rpartition(".")
        setattr(network.get_submodule(owner), last, layer)
    return network


def _left_out(seen: list[Met], swaps: Mapping[str, Swap]) -> nn.Module | None:
    """Return the layer at the end that a network is left without, or None."""
    dropped = [met.module for met in seen if met.path in swaps and swaps[met.path].is_dropped]
    return dropped[0] if dropped else None


def _places(seen: list[Met]) -> dict[int, Place]:
    """Return where the layers stand, of those that see the same shapes in all their places."""
    places: dict[int, Place] = {}
    unclear = set[int]()
    for met in seen:
        if met.module is None or met.result is None:
            continue
        place = Place(met.taken, tuple(met.result.shape), met.is_last, met.takes_negatives)
        if places.setdefault(id(met.module), place) != place:
            unclear.add(id(met.module))
    return {key: place for key, place in places.items() if key not in unclear}


def _refusals_of_a_trial(network: nn.Module, options: dict[str, Any]) -> tuple[str, ...]:
    """Convert a network, so that nothing is promised that a conversion refuses."""
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore", TandemWarning)
            convert(network, **options)
    except ConversionError as error:
        return (str(error),)
    return ()


def _steps(seen: list[Met], after: list[Met], swaps: dict[str, Swap]) -> Iterator[Step]:
    """Yield the rows of the table."""
    refused = {met.path for met in after if met.refusal}
    for met in seen:
        swap = swaps.get(met.path)
        before = met.kind if met.module is None else _shown(met.module)
        if swap is not None:
            outcome: Outcome = "left out" if swap.is_dropped else "swapped"
            new = "" if swap.is_dropped else _shown(swap.module)
            yield Step(met.path, before, outcome, new, swap.remark)
        elif met.path in refused:
            wish = further_wish(met.kind, met.module)
            yield Step(met.path, before, "refused", remark=wish)
        else:
            yield Step(met.path, before, "kept", remark=_of_maxima(met))


def _of_maxima(met: Met) -> str:
    if not isinstance(met.module, MAX_POOLS):
        return ""
    return 'exact with firing_delay="phased"; max_pooling="average" swaps it for an average'


def _shown(module: nn.Module) -> str:
    """Return a layer in a line, as PyTorch shows it."""
    if is_parametrized(module):
        return type(module).__name__  # its children are the parametrizations
    inner = [_shown(child) for child in module.children()]
    text = " - ".join(inner) if inner else repr(module).replace("\n", " ")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _difference(
    given: nn.Module,
    changed: nn.Module,
    end: nn.Module,
    samples: Tensor | None,
    spec: InputSpec,
) -> OutputDifference | None:
    """Compare the results, with the activation that was left out at the end put back."""
    real = samples
    if real is None:
        generator = torch.Generator().manual_seed(_SEED)
        real = torch.rand((_SAMPLES, *spec.shape), generator=generator)
    return difference_of(given, changed, end, real, are_random=samples is None)
