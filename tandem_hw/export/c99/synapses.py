"""The synapses of a layer in C: for every spike, its weights are added to the sums of a step.

Weights lie as they are read: those of one input channel together, place of the kernel after place
of the kernel, the output channels last. They are stored halved, since all of them are even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.export.c99.plan import Path
from tandem_hw.export.c99.tables import AxisTable, axis_table
from tandem_hw.export.c99.text import Arrays, filled, smallest_type
from tandem_hw.network.fixed_point import WEIGHT_STEP
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses, row_of

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SummedSynapses:
    """Synapses in C.

    Attributes:
        path: which.
        prefix: what identifiers begin with.
        unit: what one step of a sum is worth in weight units.
        sum_type: type of a sum.
    """

    path: Path
    prefix: str
    unit: int
    sum_type: str

    @property
    def weights_name(self) -> str:
        """The array of the weights."""
        return f"{self.prefix}_weights_{self.path.mark}"

    @property
    def function_name(self) -> str:
        """The function that adds them for a list of spikes."""
        return f"{self.prefix}_add_{self.path.mark}"

    @property
    def is_graded(self) -> bool:
        """Whether what comes in are integers; otherwise they are spikes."""
        return self.path.source is None

    def stored_weights(self) -> IntArray:
        """Return the weights as C has them."""
        raise NotImplementedError

    def stored_type(self) -> np.dtype[Any]:
        """Return the type of a stored weight."""
        return np.dtype(np.int8)

    def weights_of(self, stored: IntArray) -> IntArray:
        """Return the weights in PyTorch's order and weight units of those that C has.

        Args:
            stored: as ``stored_weights`` returns them, flattened.
        """
        raise NotImplementedError

    def code(self, arrays: Arrays) -> str:
        """Return arrays and function."""
        raise NotImplementedError

    @property
    def factor(self) -> str:
        """What a stored weight is multiplied with."""
        value = " * value" if self.is_graded else ""
        return f"{value} * {WEIGHT_STEP // self.unit}" if self.unit < WEIGHT_STEP else value

    @property
    def value(self) -> str:
        """The line that reads the integer that has come in."""
        return "const int32_t value = sent[at];" if self.is_graded else ""

    def function(self, body: str) -> str:
        """Return a function whose body is run for every spike."""
        argument = "const uint8_t *sent, " if self.is_graded else ""
        return filled(
            """
            static void $name(${argument}uint32_t events, $sum *restrict sums)
            {
                for (uint32_t event = 0; event < events; ++event) {
                    const uint32_t at = ${prefix}_events[event];
                    $value
                    $body
                }
            }
            """,
            name=self.function_name,
            argument=argument,
            sum=self.sum_type,
            prefix=self.prefix,
            value=self.value,
            body=body,
        )


class _Dense(SummedSynapses):
    def stored_weights(self) -> IntArray:
        weight = self.path.synapses.weight // WEIGHT_STEP
        return channels_last(weight, self.path.synapses.input_shape).T

    def weights_of(self, stored: IntArray) -> IntArray:
        synapses = self.path.synapses
        columns = stored.reshape(-1, synapses.weight.shape[0]).T
        return WEIGHT_STEP * channels_first(columns, synapses.input_shape).astype(np.int64)

    def code(self, arrays: Arrays) -> str:
        outputs = self.path.synapses.weight.shape[0]
        body = filled(
            """
            const int8_t *restrict weights = $weights + at * ${outputs}u;
            for (uint32_t output = 0; output < $outputs; ++output)
                sums[output] = ($sum)(sums[output] + weights[output]$factor);
            """,
            weights=self.weights_name,
            outputs=outputs,
            sum=self.sum_type,
            factor=self.factor,
        )
        table = arrays.constant(self.weights_name, self.stored_weights().reshape(-1), "int8_t")
        return f"{table}\n\n{self.function(body)}"


class _Convolution(SummedSynapses):
    @property
    def _convolution(self) -> Convolution:
        assert isinstance(self.path.synapses, Convolution)
        return self.path.synapses

    def _axes(self) -> list[AxisTable]:
        """Return the tables of both axes; one axis is an image of one row."""
        convolution = self._convolution
        tables = [
            axis_table(convolution.meetings(axis), length)
            for axis, length in enumerate(convolution.input_shape[1:])
        ]
        return [_ONE_ROW, *tables] if convolution.rank == 1 else tables

    def _grouped(self, weight: IntArray) -> IntArray:
        """Return [groups, out / groups, in / groups, kernel_h, kernel_w], a view."""
        kernel = self._convolution.kernel
        height = kernel[0] if self._convolution.rank == 2 else 1
        return weight.reshape(
            self._convolution.geometry.groups, -1, weight.shape[1], height, kernel[-1]
        )

    def stored_weights(self) -> IntArray:
        rows, columns = self._axes()
        weight = self._grouped(self._convolution.weight // WEIGHT_STEP)
        ordered = weight[:, :, :, list(rows.order)][..., list(columns.order)]
        return ordered.transpose(0, 2, 3, 4, 1)

    def weights_of(self, stored: IntArray) -> IntArray:
        rows, columns = self._axes()
        like = self._grouped(self._convolution.weight)
        groups, out, inside, height, width = like.shape
        ordered = stored.reshape(groups, inside, height, width, out).transpose(0, 4, 1, 2, 3)
        weight = np.empty(like.shape, np.int64)
        weight[:, :, :, np.array(rows.order)[:, None], np.array(columns.order)] = ordered
        return WEIGHT_STEP * weight.reshape(self._convolution.weight.shape)

    def code(self, arrays: Arrays) -> str:
        convolution = self._convolution
        mark, prefix = self.path.mark, self.prefix
        rows, columns = self._axes()
        channels = convolution.input_shape[0]
        out = convolution.weight.shape[0]
        groups = convolution.geometry.groups
        group_out = out // groups
        kernel_width = len(columns.order)
        tables = [
            arrays.constant(self.weights_name, self.stored_weights().reshape(-1), "int8_t"),
            arrays.constant(f"{prefix}_rows_{mark}", rows.rows),
            arrays.constant(f"{prefix}_columns_{mark}", columns.rows),
        ]
        body = filled(
            """
            const uint32_t place = at / ${channels}u, channel = at - place * ${channels}u;
            const uint32_t line = place / ${width}u;
            const $row_type *row = ${prefix}_rows_$mark[line];
            const $column_type *column = ${prefix}_columns_$mark[place - line * ${width}u];
            const uint32_t tap =
                (channel * ${kernel_height}u + row[1]) * ${kernel_width}u + column[1];
            const int8_t *restrict weights = $weights + tap * ${group_out}u;
            $sum *restrict target = sums + (row[0] * ${out_width}u + column[0]) * ${out}u$group;
            for (uint32_t y = 0; y < row[2]; ++y)
                for (uint32_t x = 0; x < column[2]; ++x) {
                    const uint32_t from = y * ${weights_row}u + x * ${group_out}u;
                    const uint32_t to = y * ${target_row}u + x * ${step}u;
                    for (uint32_t output = 0; output < $group_out; ++output)
                        target[to + output] =
                            ($sum)(target[to + output] + weights[from + output]$factor);
                }
            """,
            channels=channels,
            prefix=prefix,
            mark=mark,
            row_type=_type_in(tables[1]),
            column_type=_type_in(tables[2]),
            width=convolution.input_shape[-1],
            weights=self.weights_name,
            kernel_height=len(rows.order),
            kernel_width=kernel_width,
            group_out=group_out,
            sum=self.sum_type,
            out_width=convolution.output_shape[-1],
            out=out,
            group="" if groups == 1 else f" + channel / {channels // groups}u * {group_out}u",
            step=columns.stride * out,
            factor=self.factor,
            weights_row=kernel_width * group_out,
            target_row=rows.stride * convolution.output_shape[-1] * out,
        )
        return "\n".join([*tables, "", self.function(body)])


class _OneToOne(SummedSynapses):
    """One-to-one synapses: a function upon the input, a number where neurons read spikes."""

    @property
    def _unit(self) -> int:
        return 1 if self.path.is_read else self.unit

    def stored_weights(self) -> IntArray:
        return self.path.synapses.weight // self._unit

    def stored_type(self) -> np.dtype[Any]:
        weight = int(self.stored_weights()[0])
        return np.dtype(smallest_type(weight, weight).removesuffix("_t"))

    def weights_of(self, stored: IntArray) -> IntArray:
        return self._unit * stored.astype(np.int64)

    def code(self, arrays: Arrays) -> str:
        table = arrays.constant(self.weights_name, self.stored_weights())
        if self.path.is_read:
            return table
        body = f"sums[at] = ({self.sum_type})(sums[at] + {self.weights_name}[0] * value);"
        return f"{table}\n\n{self.function(body)}"


#: Each kind of synapses in C.
_IN_C: Final[dict[type[Synapses], type[SummedSynapses]]] = {
    Conv2d: _Convolution,
    Conv1d: _Convolution,
    ConvTranspose2d: _Convolution,
    Dense: _Dense,
    OneToOne: _OneToOne,
}
#: The axis that an image of one row has more than that row.
_ONE_ROW: Final = AxisTable((0,), np.array([[0, 0, 1]], dtype=np.int64), 1)


def summed_synapses(path: Path, prefix: str, unit: int, sum_type: str) -> SummedSynapses:
    """Return synapses in C.

    Args:
        path: which.
        prefix: what identifiers begin with.
        unit: what one step of a sum is worth in weight units.
        sum_type: type of a sum.

    Raises:
        NetworkError: a kind without C code.
    """
    return row_of(_IN_C, path.synapses, "the C99 export")(path, prefix, unit, sum_type)


def channels_last(values: IntArray, shape: tuple[int, ...]) -> IntArray:
    """Return [rows, positions * channels] of [rows, values of a shape with the channels first].

    Args:
        values: [rows, product of ``shape``].
        shape: (channels, ...).
    """
    images = values.reshape(len(values), shape[0], math.prod(shape[1:]))
    return images.transpose(0, 2, 1).reshape(len(values), -1)


def channels_first(values: IntArray, shape: tuple[int, ...]) -> IntArray:
    """Return [rows, channels * positions] of what ``channels_last`` returned."""
    images = values.reshape(len(values), math.prod(shape[1:]), shape[0])
    return images.transpose(0, 2, 1).reshape(len(values), -1)


def _type_in(definition: str) -> str:
    """Return the type of the elements of an array that ``Arrays.constant`` defines."""
    return definition.split()[2]
