"""What to use in place of what has no exact counterpart, for modules and functions alike."""

from __future__ import annotations

from typing import Final

_POOLING = (
    "use MaxPool1d or MaxPool2d in a phased network, average pooling, or a stride of 2 in the "
    "convolution before it"
)
_ENLARGING = "use a ConvTranspose2d with a stride"
_ACTIVATION = (
    "use ReLU, the spike counts cap it at activation_max (in Python, tandem_hw.prepare with "
    'activations="relu" swaps layers such as GELU)'
)
_CEILING = (
    "use ReLU, the spike counts cap it at activation_max; for a ceiling c of your own ReLU6, "
    "Hardtanh(0, c) or clamp(0, c) right behind a layer with weights"
)
_PROBABILITY = (
    "inside a network use ReLU; at its end leave it out, the loss takes the logits "
    "(cross_entropy, binary_cross_entropy_with_logits)"
)
_NORMALISATION = "use batch normalisation, which is folded into the weights"
_WEIGHTS = "use the layer of torch.nn, which has the weights"
_ARITHMETIC = "scale, subtract or stack by the weights of a layer"
_STACKING = "join what layers with a ReLU put out along their channels, torch.cat([a, b], 1)"
_PART = (
    "a layer takes in all neurons of the one before it; cut the data before the network, or give "
    "each part a layer of its own"
)
_ORDER = "the axes of a sample stay channels, height, width; reorder the data before the network"
_MARGIN = "use the padding of the convolution behind it"

#: For each proposal the names, in lower case without underscores, that it is for.
_NAMES: Final = {
    _ACTIVATION: "leakyrelu rrelu prelu gelu silu swish mish elu selu celu tanh "
    "hardswish softplus softsign threshold hardshrink softshrink tanhshrink glu abs exp",
    _CEILING: "hardtanh relu6 clamp clampmin clampmax clip",
    _PROBABILITY: "sigmoid logsigmoid hardsigmoid softmax logsoftmax softmin softmax2d expit",
    _WEIGHTS: "conv1d conv2d linear convtranspose2d batchnorm matmul addmm",
    _ARITHMETIC: "mul sub rsub truediv div neg pow bilinear",
    _STACKING: "cat concat concatenate stack hstack vstack",
    _PART: "getitem chunk split narrow select unbind indexselect tensorsplit unfold gather",
    _ORDER: "permute transpose swapaxes moveaxis movedim t flip roll rot90",
    _MARGIN: "pad zeropad2d constantpad1d constantpad2d",
    "use BatchNorm1d or BatchNorm2d": "syncbatchnorm",
}
_BY_NAME: Final = {name: advice for advice, names in _NAMES.items() for name in names.split()}
#: What is proposed for functions that act on every value alone.
_OF_ACTIVATIONS: Final = (_ACTIVATION, _CEILING, _PROBABILITY)
#: Parts of names, where no whole name fits.
_BY_PART: Final = {
    "maxpool": _POOLING,
    "lppool": _POOLING,
    "upsample": _ENLARGING,
    "unpool": _ENLARGING,
    "interpolate": _ENLARGING,
    "pixelshuffle": _ENLARGING,
    "norm": _NORMALISATION,
}


def is_activation(name: str) -> bool:
    """Whether a function or class is known as an activation."""
    return _BY_NAME.get(_plain(name)) in _OF_ACTIVATIONS


def proposal(*names: str) -> str:
    """Return what to use instead, as the end of a message, or nothing.

    Args:
        names: of a function, or of the classes of a module, the most special one first.
    """
    for name in names:
        plain = _plain(name)
        if plain in _BY_NAME:
            return f"; {_BY_NAME[plain]}"
        for part, advice in _BY_PART.items():
            if part in plain:
                return f"; {advice}"
    return ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
