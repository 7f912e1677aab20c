"""The networks of the zoo by name; PyTorch is imported when one is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tandem_hw.deferred_import import imported_when_called

if TYPE_CHECKING:
    from torch import nn

    #: Takes the shape of a sample and the number of outputs.
    Builder = Callable[[tuple[int, ...], int], nn.Sequential]

_PLAIN: Final = "tandem_hw.zoo.models"
_CONVOLUTIONAL: Final = "tandem_hw.zoo.convolutional_networks"
_RESIDUAL: Final = "tandem_hw.zoo.residual_networks"

#: What builds each network, a function of the same name.
MODELS: Final[dict[str, Builder]] = {
    name: imported_when_called(module, name)
    for name, module in {
        "mlp": _PLAIN,
        "lenet": _PLAIN,
        "mnistnet": _PLAIN,
        "widemnistnet": _PLAIN,
        "cifarnet": _PLAIN,
        "vgg11": _CONVOLUTIONAL,
        "vgg16": _CONVOLUTIONAL,
        "resnet20": _RESIDUAL,
        "resnet18": _RESIDUAL,
        "eventnet": _PLAIN,
        "autoencoder": _CONVOLUTIONAL,
        "compressor": _CONVOLUTIONAL,
        "signalnet": _CONVOLUTIONAL,
    }.items()
}
