"""Reads an ONNX file without trust: plain numbers and names come out, and no code is run.

A file may be damaged, or made to ask for memory that it does not hold: every tensor has to be there
in full before it takes any, and the data beside a file may lie in its own folder alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError, FileFormatError, how_to_install
from tandem_hw.plain_text import plain
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable

Array = npt.NDArray[Any]

#: Types of tensors that are read, by ONNX's number, as they lie in a file.
_DTYPES: Final = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
#: The fields that hold the values of a type where they are not raw.
_FIELDS: Final = {1: "float_data", 6: "int32_data", 7: "int64_data", 11: "double_data"}
#: Types of a network's input and output.
_FLOATING: Final = (1, 11)
_RANK_MAX: Final = 8
#: The oldest version of ONNX's operators that is read: before, several meant something else.
_OPSET_MIN: Final = 7
_STANDARD: Final = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """An operator and what it is applied to.

    Attributes:
        name: its name in the file, or its place.
        kind: the operator, such as "Conv"; of another domain than ONNX's, with that.
        inputs, outputs: names of values; "" is left out.
        attributes: numbers, texts, lists of them, and arrays.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A feed-forward network with one input and one output.

    Attributes:
        nodes: in the order in which they are computed.
        constants: arrays by name.
        input, output: names.
        input_shape: of the input, samples first; None where it is open.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    input: str
    output: str
    input_shape: tuple[int | None, ...]


def read_graph(path: Path) -> Graph:
    """Read a file.

    Args:
        path: an ONNX file; data outside of it are read if they lie in its folder.

    Raises:
        ConversionError: the package ``onnx`` is missing.
        FileFormatError: the file is missing, damaged, or no network of one input and one output.
    """
    refuse_unreachable(path, FileFormatError)
    if not path.is_file():
        raise FileFormatError(f"{path}: is no file; give an ONNX file")
    refuse_pointer(path, FileFormatError)
    try:
        import onnx
    except ImportError as error:
        raise ConversionError(
            f"{path}: to read it the package onnx is needed; {how_to_install('onnx')}"
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
        graph = model.graph
        versions = [one.version for one in model.opset_import if one.domain in _STANDARD]
        newest = onnx.defs.onnx_opset_version()
        if not graph.node:
            raise ValueError("it has no operators")
    except Exception as error:  # the parser's own classes differ from version to version
        raise FileFormatError(
            f"{path}: is damaged or no ONNX file; export the network again (torch.onnx.export)"
        ) from error
    if not versions or not all(_OPSET_MIN <= one <= newest for one in versions):
        found = ", ".join(map(str, versions)) or "none"
        raise FileFormatError(
            f"{path}: is written for ONNX's operators of version {found}; read are {_OPSET_MIN} to "
            f"{newest}: export the network again, with such an opset_version"
        )
    try:
        return _graph(graph, path.resolve().parent)
    except (ValueError, OSError, OverflowError, MemoryError) as error:
        raise FileFormatError(f"{path}: {plain(str(error))}; export the network again") from error


def _graph(graph: Any, folder: Path) -> Graph:
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        name = _text(tensor.name)
        if name in constants:
            raise ValueError(f"it holds {name} twice")
        constants[name] = _array(tensor, folder)
    if graph.sparse_initializer:
        raise ValueError("it holds sparse tensors, which are not read")
    inputs = [one for one in graph.input if _text(one.name) not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(
            f"it has {counted(len(inputs), 'input')} and {counted(len(graph.output), 'output')}, "
            f"where one each is needed"
        )
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in _FLOATING:
        raise ValueError("its input is no tensor of float32 or float64")
    shape = tuple(_length(one) for one in tensor.shape.dim)
    nodes = []
    first, output = _text(inputs[0].name), _text(graph.output[0].name)
    known = {first, *constants, ""}
    for number, one in enumerate(graph.node):
        node = _node(one, number, folder)
        unknown = [name for name in node.inputs if name not in known]
        if unknown:
            raise ValueError(f"{node.name} takes {unknown[0]}, which nothing before it gives")
        again = [name for name in node.outputs if name and name in known]
        if again:
            raise ValueError(f"{node.name} gives {again[0]}, which is there already")
        known.update(node.outputs)
        if node.kind == "Constant":
            constants[node.outputs[0]] = _constant(node)
        else:
            nodes.append(node)
    if output not in known or output in constants:
        raise ValueError(f"nothing gives its output {output}")
    return Graph(tuple(nodes), constants, first, output, shape)


def _text(value: str | bytes) -> str:
    """Return a name; of a damaged file it may be bytes that are no text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _length(dim: Any) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def _node(node: Any, number: int, folder: Path) -> Node:
    kind, domain = _text(node.op_type), _text(node.domain)
    kind = kind if domain in _STANDARD else f"{domain}.{kind}"
    name = plain(_text(node.name) or f"{kind}_{number}")
    if not node.output:
        raise ValueError(f"{name} gives nothing")
    attributes = {_text(one.name): _attribute(one, folder) for one in node.attribute}
    if len(attributes) < len(node.attribute):
        raise ValueError(f"{name} says an attribute twice")
    inputs, outputs = map(_text, node.input), map(_text, node.output)
    return Node(name, plain(kind), tuple(inputs), tuple(outputs), attributes)


def _attribute(attribute: Any, folder: Path) -> Any:
    """Return a value of an operator; a graph or what else there is becomes None."""
    if attribute.type == attribute.FLOAT:
        return float(attribute.f)
    if attribute.type == attribute.INT:
        return int(attribute.i)
    if attribute.type == attribute.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == attribute.TENSOR:
        return _array(attribute.t, folder)
    if attribute.type == attribute.FLOATS:
        return [float(value) for value in attribute.floats]
    if attribute.type == attribute.INTS:
        return [int(value) for value in attribute.ints]
    return None


def _constant(node: Node) -> Array:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attributes.get(name)
        if value is not None:
            return np.asarray(value)
    raise ValueError(f"{node.name} is a constant of a kind that is not read")


def _array(tensor: Any, folder: Path) -> Array:
    """Return a tensor, which has to be there in full.

    Raises:
        ValueError: it is not.
    """
    shape = tuple(int(length) for length in tensor.dims)
    name = plain(_text(tensor.name) or "a constant")
    if tensor.data_type not in _DTYPES:
        raise ValueError(f"{name} is of a type that is not read; give float32 weights")
    dtype = np.dtype(_DTYPES[tensor.data_type])
    if len(shape) > _RANK_MAX or any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {shape}")
    count = math.prod(shape)
    if tensor.data_location == tensor.EXTERNAL:
        raw = _beside(tensor, name, folder, count * dtype.itemsize)
    else:
        raw = tensor.raw_data
    if raw:
        if len(raw) != count * dtype.itemsize:
            raise ValueError(f"{name} of shape {shape} has {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    values = getattr(tensor, _FIELDS.get(tensor.data_type, "float_data"))
    if len(values) != count:
        raise ValueError(f"{name} of shape {shape} has {counted(len(values), 'value')}")
    return np.array(values, dtype=dtype.newbyteorder("=")).reshape(shape)


def _beside(tensor: Any, name: str, folder: Path, size: int) -> bytes:
    """Return the bytes of a tensor that lie in another file of the same folder."""
    told = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    place = Path(told.get("location", ""))
    path = (folder / place).resolve()
    if place.is_absolute() or not path.is_relative_to(folder) or not path.is_file():
        raise ValueError(f"{name} lies in {place}, which is no file in the same folder")
    offset, length = int(told.get("offset", 0)), int(told.get("length", size))
    if length != size or offset < 0 or offset + length > os.stat(path).st_size:
        raise ValueError(f"{name} takes {size} bytes, which {place} does not have where it says")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
