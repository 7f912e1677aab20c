"""What all kinds of synapses of a quantized network have: integer weights, checked when built.

Everything is in weight units (one step of a Lava weight, see ``tandem_hw.network.fixed_point``).
Arrays keep PyTorch's axis order with output channels first; the exporter and the Lava graph turn
them into Lava's.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import check_weights
from tandem_hw.network.synapses.geometry import Geometry, Shape

#: What a stage keeps for each kind.
Row = TypeVar("Row")


def plain_integers(item: object, owner: str, *names: str) -> None:
    """Turn NumPy integers in fields into Python's, so that equal networks have equal digests.

    Args:
        item: a frozen dataclass.
        owner: what starts a message, such as "layer conv1: ", or nothing.
        names: its fields; None stays None.

    Raises:
        NetworkError: a field is not made of integers.
    """
    for name in names:
        value = getattr(item, name)
        if value is None and name == "threshold":
            continue
        try:
            if isinstance(value, Iterable):
                plain: int | Shape = tuple(map(operator.index, value))
            else:
                plain = operator.index(value)
        except TypeError as error:
            raise NetworkError(f"{owner}{name} {value!r} is not made of integers") from error
        object.__setattr__(item, name, plain)


def frozen_integers(
    values: Any, dtype: type[np.signedinteger[Any]], what: str
) -> npt.NDArray[np.signedinteger[Any]]:
    """Return a copy of integers that nobody can change.

    Args:
        values: an array of integers.
        dtype: what they are stored as.
        what: names them in a message, such as "layer conv1: weight".

    Raises:
        NetworkError: they are no integers, or do not fit.
    """
    array = np.array(values, order="C")
    if not np.issubdtype(array.dtype, np.integer):
        raise NetworkError(f"{what} is {array.dtype}, not an integer")
    if array.size and np.any(array != array.astype(dtype)):
        raise NetworkError(f"{what} does not fit {np.dtype(dtype)}")
    array = array.astype(dtype)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses of one kind, onto the neurons of one layer.

    A kind is a subclass. What a stage does with each is a row of that stage's table, keyed by the
    class; a stage without a row for it refuses it (``row_of``).

    Attributes:
        name: unique within the network; of a layer's first synapses it is the layer's own.
        weight: int16 weights in weight units, even, output channels first.
        weight_bits: width of the signed weights, 2 to 8.
        input_shape: shape of one sample that comes in.
    """

    #: What files call the kind.
    file_type: ClassVar[str]
    #: What the axes of the weights are.
    weight_axes: ClassVar[tuple[str, ...]]
    #: What the weights are stored as.
    weight_dtype: ClassVar[type[np.signedinteger[Any]]] = np.int16
    #: The class of the geometry, of kinds that have one.
    geometry_type: ClassVar[type[Geometry] | None] = None

    name: str
    weight: npt.NDArray[np.signedinteger[Any]]
    weight_bits: int
    input_shape: Shape

    def __post_init__(self) -> None:
        """Freeze the weights and check every field."""
        check_name(self.name)
        object.__setattr__(self, "name", str(self.name))  # NumPy's own would change the digest
        plain_integers(self, f"layer {self.name}: ", "input_shape", "weight_bits")
        shape = self.input_shape
        if not isinstance(shape, tuple) or min(shape, default=0) < 1:
            raise NetworkError(
                f"layer {self.name}: input_shape {shape} needs lengths of at least 1, as a tuple"
            )
        weight = frozen_integers(self.weight, self.weight_dtype, f"layer {self.name}: weight")
        object.__setattr__(self, "weight", weight)
        if weight.ndim == 0 or weight.size == 0:
            raise NetworkError(
                f"layer {self.name}: there are no weights in an array of shape {weight.shape}; "
                f"give one axis or more, output channels first"
            )
        try:
            self._check_weights()
        except NetworkError as error:
            raise NetworkError(f"layer {self.name}: {error}") from error

    def _check_weights(self) -> None:
        check_weights(self.weight, self.weight_bits)

    @property
    def output_shape(self) -> Shape:
        """Shape of the neurons that they reach."""
        raise NotImplementedError

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        raise NotImplementedError

    @property
    def geometry_numbers(self) -> dict[str, Shape]:
        """The numbers of the geometry that are given for each axis, by name; none without one."""
        return {}

    @property
    def title(self) -> str:
        """What they are in a few words, for a table."""
        raise NotImplementedError


def check_name(name: str) -> None:
    """Refuse a name that is no line of text, or that files could take for a path.

    Raises:
        NetworkError: says so.
    """
    if not isinstance(name, str) or not name or "/" in name or not name.isprintable():
        raise NetworkError(f"layer name {name!r} must be printable text without a slash")


def row_of(table: Mapping[type[Any], Row], item: object, stage: str) -> Row:
    """Return what a stage's table, keyed by the class, has for a kind of synapses or of layers.

    Args:
        table: by the very class; a subclass needs a row of its own.
        item: an instance of some kind.
        stage: what the table is of, for the message, such as "the reference".

    Raises:
        NetworkError: there is no row.
    """
    if type(item) in table:
        return table[type(item)]
    name = getattr(item, "name", None)
    raise NetworkError(
        f"{f'layer {name}' if name else 'a layer'} is a {type(item).__name__}, which {stage} does "
        f"not know, only {', '.join(kind.__name__ for kind in table)}; docs/architecture.md lists "
        f"what a new kind of layer needs"
    )
