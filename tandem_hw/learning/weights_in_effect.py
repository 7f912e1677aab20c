"""Weights that a hook computes before each forward pass: pruning, and PyTorch's older norms.

``torch.nn.utils.prune`` keeps a parameter as ``weight_orig`` and its mask as ``weight_mask``, and a
hook makes ``weight`` of them when the module is called. Whoever reads ``weight`` in between, after
a step of the optimizer or ``load_state_dict``, would get the one of the last call.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from tandem_hw.errors import ConversionError

_COMPUTING_HOOKS: Final = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
_ORIGINAL, _MASK = "_orig", "_mask"


def refresh_weights(module: nn.Module) -> None:
    """Compute what hooks of pruning and of the older norms would compute before a forward pass."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _COMPUTING_HOOKS):
            hook(module, ())


def has_foreign_hooks(module: nn.Module) -> bool:
    """Return whether something else than pruning and the older norms looks at a forward pass."""
    before = module._forward_pre_hooks.values()
    computing = all(isinstance(hook, _COMPUTING_HOOKS) for hook in before)
    return not computing or bool(module._forward_hooks)


def check_storable(model: nn.Module, plain_names: set[str]) -> None:
    """Refuse a model that a checkpoint cannot hold.

    Args:
        model: a tandem network.
        plain_names: the names in the state of one that is as it was built.

    Raises:
        ConversionError: it has other parameters than its own, but for those of pruning.
    """
    names = set(without_pruning(model.state_dict()))
    for name in sorted(names ^ plain_names):
        raise ConversionError(
            f"a checkpoint cannot hold {name}; of what changes weights it holds pruning "
            f"(torch.nn.utils.prune) alone, so make others permanent before the training "
            f"(torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm)"
        )


def restore_pruning(model: nn.Module, state: dict[str, Any]) -> None:
    """Prune a model as the one was that a state comes from.

    Args:
        model: a tandem network as it was built; changed in place.
        state: of a pruned one or not; masks are ones and zeros.

    Raises:
        ValueError: a mask does not fit.
    """
    for name, mask in state.items():
        plain = _pruned_name(name)
        if plain is None or not name.endswith(_MASK):
            continue
        path, _, parameter = plain.rpartition(".")
        module = model.get_submodule(path)
        shape = getattr(module, parameter).shape
        if mask.shape != shape or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"{name} is no mask of shape {tuple(shape)}")
        prune.custom_from_mask(module, parameter, mask)


def without_pruning(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with unpruned values under the names of parameters, and without masks."""
    return {
        _pruned_name(name) or name: value
        for name, value in state.items()
        if not (_pruned_name(name) and name.endswith(_MASK))
    }


@torch.no_grad()
def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's state with weights in effect in place of pruned ones and their masks."""
    state = model.state_dict()
    plain = without_pruning(state)
    for name, mask in state.items():
        whole = _pruned_name(name)
        if whole is not None and name.endswith(_MASK):
            plain[whole] = plain[whole] * mask
    return plain


def _pruned_name(name: str) -> str | None:
    """Return the parameter that a name of pruning belongs to, or None."""
    for ending in (_ORIGINAL, _MASK):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return None
