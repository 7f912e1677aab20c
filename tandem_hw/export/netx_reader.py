"""lava-dl's own ``.net`` files: feed-forward networks of CUBA neurons, as netx runs them.

Schema and meaning: ``lava/lib/dl/netx/hdf5.py``, ``utils.py`` and ``blocks/process.py`` of lava-dl
0.6.0. Nothing is approximated: what our arithmetic does not have is refused by name, and so is what
netx itself would run with other weights than the file has.
"""

from __future__ import annotations

import math
import os
from typing import Final

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.hdf5_items import Entry, open_items
from tandem_hw.export.hdf5_tree import FORMAT
from tandem_hw.export.net_file import check_sizes
from tandem_hw.export.netx_weights import netx_changes
from tandem_hw.network.choices import EVENTS
from tandem_hw.network.layers import Neurons, chain
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Readout, Shape
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.network.synapses.kind import Synapses

Int64Array = npt.NDArray[np.int64]

#: Names that slayer gives to Loihi's neuron (``Network.get_neuron_params``).
_NEURON_TYPES: Final = ("CUBA", "LOIHI")
_LAYER_TYPES: Final = ("input", "conv", "flatten", "dense")
#: More layers than any chip holds.
_LAYERS_MAX: Final = 1024
_WEIGHT_BITS: Final = 8
#: Weights of a dense layer that is made of a convolution: the padding can be any number.
_DENSE_MAX: Final = 1 << 24
#: Values of a neuron that our arithmetic has; netx ignores the first two, other programs do not.
_PLAIN_NEURON: Final = {
    "refDelay": (0, 1),
    "wgtExp": (0,),
    "gradedSpike": (0,),
    "messageBits": (0,),
}


def read_netx(path: str | os.PathLike[str], num_steps: int | None = None) -> QuantizedNetwork:
    """Read a feed-forward network of CUBA neurons that lava-dl exported.

    The network has reset "zero" and the encoding "events": it takes the spikes of the file's input
    layer step by step, [samples, num_steps, *shape]. Neurons of the input layer, which lava-dl
    drives by a bias for each pixel, are not part of it. The last layer is counted, or is a readout
    by potential where it has no neuron. A last convolution of one position becomes the dense layer
    that it is.

    Args:
        path: a file that ``export_hdf5`` of a lava-dl network wrote: layers of type input, conv,
            flatten and dense, with biases, iDecay, vDecay and vThMant.
        num_steps: length T of a sample's window; by default the file's ``simulation/tSample``.

    Returns:
        The network; its layers are called by type and place in the file, such as "conv1".

    Raises:
        FileFormatError: the file is missing, damaged or foreign, or holds what cannot be run
            exactly: other neurons or layers, delays, odd weights, values that are no integers.
    """
    with open_items(path) as root:
        if FORMAT in root.attribute_names:
            raise FileFormatError(f"{path}: was written by tandem-hw; read it with read_net")
        try:
            network = _network(root, num_steps)
            check_sizes(network)
        except NetworkError as error:
            raise FileFormatError(f"{path}: cannot be run exactly: {error}") from error
    return network


def is_netx(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file has layers where lava-dl puts them, and is none of ours.

    Raises:
        FileFormatError: the file is missing, damaged or no HDF5 file.
    """
    with open_items(path) as root:
        return FORMAT not in root.attribute_names and root.has("layer")


def _network(root: Entry, num_steps: int | None) -> QuantizedNetwork:
    entries = root.group("layer")
    count = len(entries.names)
    if not 1 <= count <= _LAYERS_MAX or entries.names != set(map(str, range(count))):
        raise FileFormatError(
            f"{entries.location} needs layers named 0, 1, 2 and so on, at most {_LAYERS_MAX}"
        )
    shape = _input_shape(entries.group("0"))
    spec = InputSpec(shape, bits=1, scale=1.0, encoding=EVENTS)
    parts: list[tuple[Synapses, Neurons]] = []
    flattened = False
    for index in range(count):
        entry = entries.group(str(index))
        kind = entry.text("type")
        if kind not in _LAYER_TYPES or (kind == "input" and index > 0):
            raise FileFormatError(
                f'{entry.where("type")} is "{kind}"; layers of type conv, flatten and dense can be '
                f"run exactly, after one of type input"
            )
        if kind == "input":
            continue
        if kind == "flatten":
            flattened = True
            continue
        is_last = index == count - 1
        parts.append(_layer(entry, f"{kind}{index}", shape, is_last, flattened))
        flattened, shape = False, parts[-1][0].output_shape
    if not parts:
        raise FileFormatError(f"{entries.location} holds no layer with weights")
    if num_steps is None:
        if not root.has("simulation"):
            raise FileFormatError(
                f"{root.location} does not say how long a sample is; give num_steps: "
                f"tandem_hw.read_netx(path, num_steps=...)"
            )
        num_steps = root.group("simulation").integer("tSample")
    layers = chain(*parts)
    readout: Readout = "count" if layers[-1].fires else "potential"
    return QuantizedNetwork(spec, layers, num_steps, "zero", readout)


def _input_shape(first: Entry) -> Shape:
    """Return the shape of what goes in; a dense layer says it by its weights."""
    if first.text("type") == "dense":
        _, features = _dense_weight(first).shape
        return (features,)
    if first.text("type") != "input":
        raise FileFormatError(
            f'{first.where("type")} is "{first.text("type")}"; the first layer must say the shape '
            f"of the input, so it must be of type input or dense"
        )
    if first.has("neuron"):
        _threshold_and_decays(first)  # its spikes are what goes in
    return tuple(first.integers("shape").reshape(-1).tolist())


def _layer(
    entry: Entry, name: str, shape: Shape, is_last: bool, flattened: bool
) -> tuple[Synapses, Neurons]:
    if entry.has("delay") and np.any(entry.integers("delay")):
        raise FileFormatError(f"{entry.where('delay')} is not 0; delays are not supported")
    if entry.has("weight_exp") and entry.integers("weight_exp").any():
        raise FileFormatError(f"{entry.where('weight_exp')} is not 0, which netx ignores")
    if entry.text("type") == "conv":
        if flattened:
            raise FileFormatError(f"{entry.location} is a convolution behind a flatten")
        conv = _convolution(entry, name, shape)
        neurons = _neurons(entry, len(conv.weight))
        is_dense = is_last and conv.output_shape[1:] == (1, 1)
        return (_as_dense(conv) if is_dense else conv), neurons
    if len(shape) == 3 and not flattened:
        raise FileFormatError(
            f"{entry.location} is dense and takes an image {shape}; a flatten must come before it"
        )
    weight = _dense_weight(entry)
    _refuse_what_netx_changes(entry, weight)
    if not is_last and not entry.has("neuron"):
        raise FileFormatError(
            f"{entry.location} has no neuron, so it never fires; only the last layer may be so"
        )
    dense = Dense(name, weight, _WEIGHT_BITS, shape)
    if entry.has("neuron"):
        return dense, _neurons(entry, len(weight))
    return dense, Neurons(_bias(entry, len(weight)), threshold=None)


def _convolution(entry: Entry, name: str, shape: Shape) -> Conv2d:
    weight = entry.integers("weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise FileFormatError(
            f"{entry.where('weight')} has shape {weight.shape}; a convolution needs [out, in / "
            f"groups, kernel_h, kernel_w], or one more axis of length 1"
        )
    pairs = {field: _pair(entry, field) for field in Geometry.axis_names()}
    geometry = Geometry(groups=entry.integer("groups"), **pairs)
    conv = Conv2d(name, weight, _WEIGHT_BITS, shape, geometry)
    said = tuple(entry.integers("shape").reshape(-1).tolist())
    if said != conv.output_shape:
        raise FileFormatError(
            f"{entry.where('shape')} is {said}; the convolution puts out {conv.output_shape}"
        )
    return conv


def _as_dense(conv: Conv2d) -> Dense:
    """Return the dense synapses that a convolution of a single position is."""
    out, per_group = conv.weight.shape[:2]
    if out * math.prod(conv.input_shape) > _DENSE_MAX:
        raise NetworkError(f"layer {conv.name} is too large for a dense layer")
    weight = np.zeros((out, *conv.input_shape), dtype=np.int16)
    # Of each axis, by the place of the kernel, the input that it meets: none lies in the padding.
    rows, columns = (
        {place: int(met[0]) for place, (_, met) in enumerate(conv.meetings(axis)) if len(met)}
        for axis in range(2)
    )
    for channel in range(out):
        first = channel // (out // conv.geometry.groups) * per_group
        places = np.ix_(range(first, first + per_group), [*rows.values()], [*columns.values()])
        kernel = np.ix_(range(per_group), [*rows], [*columns])
        weight[channel][places] = conv.weight[channel][kernel]
    return Dense(conv.name, weight.reshape(out, -1), conv.weight_bits, conv.input_shape)


def _dense_weight(entry: Entry) -> Int64Array:
    """Return weights [out, in]; netx takes a vector as rows of what the shape says."""
    out = int(np.prod(entry.integers("shape")))
    weight = entry.integers("weight")
    if weight.ndim == 1 and out > 0 and weight.size % out == 0:
        weight = weight.reshape(out, -1)
    if weight.ndim != 2 or len(weight) != out:
        raise FileFormatError(
            f"{entry.where('weight')} has shape {weight.shape}; a dense layer of {out} neurons "
            f"needs [{out}, in]"
        )
    return weight


def _refuse_what_netx_changes(entry: Entry, weight: Int64Array) -> None:
    if netx_changes(weight):
        raise FileFormatError(
            f"{entry.where('weight')} spans {weight.min()} to {weight.max()}, which netx turns "
            f"into other weights; scale the layer down until they fit its 8 bits"
        )


def _bias(entry: Entry, channels: int) -> Int64Array:
    if not entry.has("bias"):
        return np.zeros(channels, dtype=np.int64)
    bias = entry.integers("bias").reshape(-1)
    if len(bias) != channels:
        raise FileFormatError(
            f"{entry.where('bias')} holds {len(bias)} values; each of {channels} output channels "
            f"needs one"
        )
    return bias


def _neurons(entry: Entry, channels: int) -> Neurons:
    threshold, current_decay, voltage_decay = _threshold_and_decays(entry)
    return Neurons(_bias(entry, channels), threshold, current_decay, voltage_decay)


def _threshold_and_decays(entry: Entry) -> tuple[int, int, int]:
    neuron = entry.group("neuron")
    kind = neuron.text("type")
    if kind not in _NEURON_TYPES:
        raise FileFormatError(
            f'{neuron.where("type")} is "{kind}"; {" and ".join(_NEURON_TYPES)} can be run exactly'
        )
    for name, allowed in _PLAIN_NEURON.items():
        if neuron.has(name) and neuron.integer(name) not in allowed:
            raise FileFormatError(
                f"{neuron.where(name)} is {neuron.integer(name)}; only "
                f"{' or '.join(map(str, allowed))} is supported"
            )
    # netx computes du = iDecay - 1, and Lava takes off du + 1.
    decays = (neuron.integer("iDecay"), neuron.integer("vDecay"))
    # Lava fires above vth, ours at the threshold.
    return neuron.integer("vThMant") + 1, *decays


def _pair(entry: Entry, name: str) -> tuple[int, int]:
    """Return (y, x); a single number stands for both."""
    values = entry.integers(name)
    if values.ndim > 1 or values.size not in (1, 2) or values.shape == (1,):
        raise FileFormatError(
            f"{entry.where(name)} is {values.shape}; one number or two are needed"
        )
    y, x = np.broadcast_to(values, (2,)).tolist()
    return y, x
