"""The C source of a network and its header, as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tandem_hw.export.c99.events import FUNCTIONS, LIST, TOGETHER, ones_of
from tandem_hw.export.c99.identifiers import comment
from tandem_hw.export.c99.neurons import NeuronCode, count_type
from tandem_hw.export.c99.plan import LayerPlan, make_plan
from tandem_hw.export.c99.self_test import SelfTest, self_test_code
from tandem_hw.export.c99.synapses import SummedSynapses, summed_synapses
from tandem_hw.export.c99.templates import (
    ARITHMETIC,
    HEADER,
    INTERFACE,
    LIMITS,
    RECORD,
    RECORD_STATE,
)
from tandem_hw.export.c99.text import Arrays, filled
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.version import installed_version

_BITS: Final = 8
#: Neurons that are listed at a time, and on a wide processor.
_TOGETHER: Final = 4
_TOGETHER_IF_WIDE: Final = 8


@dataclass(frozen=True)
class SourceFiles:
    """A network in C.

    Attributes:
        source: the ``.c`` file.
        header: the ``.h`` file.
        constant_bytes: what its constants take, without the code.
        state_bytes: what its variables take.
    """

    source: str
    header: str
    constant_bytes: int
    state_bytes: int


def source_files(
    network: QuantizedNetwork, prefix: str, header_name: str, self_test: SelfTest | None = None
) -> SourceFiles:
    """Return a network as C99.

    Args:
        network: what is to run.
        prefix: what all its symbols begin with.
        header_name: the header, as the source includes it.
        self_test: samples and results for a ``main`` that compares them.

    Raises:
        NetworkError: it has synapses that C does not know.
    """
    return _Source(network, prefix, header_name).files(self_test)


@dataclass
class _Source:
    network: QuantizedNetwork
    prefix: str
    header_name: str
    arrays: Arrays = field(default_factory=Arrays)
    _event: str = "uint16_t"

    def __post_init__(self) -> None:
        self.plan = make_plan(self.network)
        self.places, self.spike_bytes = self.plan.spike_places
        self.synapses = [
            [summed_synapses(path, self.prefix, plan.unit, plan.sum_type) for path in plan.paths]
            for plan in self.plan.layers
        ]
        last = len(self.plan.layers) - 1
        self.neurons = [
            NeuronCode(plan, self.prefix, self._sums(plan), plan.layer.fires and plan.index == last)
            for plan in self.plan.layers
        ]

    def files(self, self_test: SelfTest | None) -> SourceFiles:
        layers = "\n\n".join(map(self._layer, self.plan.layers))
        parts = [self._shared(layers), layers, self._interface(), self._record()]
        if self_test is not None:
            self_test.check(self.network)
            parts.append(self_test_code(self_test, self.prefix))
        text = "\n\n".join([self._head(), *parts]) + "\n"
        source = re.sub(r"^[ ]+#", "#", text, flags=re.MULTILINE)
        return SourceFiles(
            source, self._header(), self.arrays.constant_bytes, self.arrays.state_bytes
        )

    def _filled(self, template: str, **values: object) -> str:
        return filled(template, prefix=self.prefix, PREFIX=self.prefix.upper(), **LIMITS, **values)

    # What stands at the top ----------------------------------------------------------------------

    def _head(self) -> str:
        network = self.network
        lines = [
            f"{self.prefix}.c - a spiking network of integers, written by tandem-hw "
            f"{installed_version()}",
            "",
            f"digest       {network.digest}",
            f"input        {network.input.shape}, integers up to {network.input.largest}, "
            f"encoding {network.input.encoding}",
            f"window       {network.num_steps} steps, reset {network.reset}, firing delay "
            f"{network.firing_delay}",
            f"result       {network.outputs} values, readout {network.readout}, one is worth "
            f"{network.readout_scale:.9g}",
            f"constants    {self.arrays.constant_bytes} bytes of flash, besides the code",
            f"variables    {self.arrays.state_bytes} bytes of RAM, besides the stack",
            "",
            *self._layer_lines(),
        ]
        body = "\n".join(f" * {comment(line)}".rstrip() for line in lines)
        return f'/*\n{body}\n */\n#include "{self.header_name}"\n\n#include <string.h>'

    def _layer_lines(self) -> Iterator[str]:
        for plan in self.plan.layers:
            layer = plan.layer
            titles = ", ".join(
                path.synapses.title.replace("→", " to ").replace("×", "x") for path in plan.paths
            )
            shape = "x".join(map(str, layer.output_shape))
            fires = f"threshold {layer.neurons.threshold}" if layer.fires else "never fires"
            proven = "" if plan.bounds.proven else ", may leave 24 bits"
            what = f"{titles}; {shape} neurons, {fires}{proven}"
            yield f"layer {plan.index + 1}, {layer.name}: {what}"

    def _header(self) -> str:
        network = self.network
        return (
            self._filled(
                HEADER,
                version=installed_version(),
                digest=network.digest,
                steps=network.num_steps,
                inputs=math.prod(network.input.shape),
                sample=math.prod(network.sample_shape),
                shape=comment(str(network.sample_shape)),
                largest=network.input.largest,
                outputs=network.outputs,
                what=_WHAT_COMES_IN[network.input.takes_events],
            )
            + "\n"
        )

    # What all layers share -----------------------------------------------------------------------

    def _shared(self, layers: str) -> str:
        """Return what the code of the layers takes from all of them together."""
        arrays, prefix, plans = self.arrays, self.prefix, self.plan.layers
        sources = {path.source for plan in plans for path in plan.summed}
        lines = [f"typedef {count_type(self.network.num_steps)} {prefix}_count;"]
        if sources:
            most = max(map(self._size, sources))
            event = self._event = "uint16_t" if most + _TOGETHER <= 1 << 16 else "uint32_t"
            lines.append(self._filled(TOGETHER))
            lines.append(f"typedef {event} {prefix}_event;")
            length = f"{most} + {prefix.upper()}_TOGETHER"
            lines.append(arrays.state(f"{prefix}_events", event, length, most + _TOGETHER))
        if self.spike_bytes:
            lines.append(arrays.state(f"{prefix}_spikes", "uint8_t", self.spike_bytes))
        for plan in plans:
            if plan.slots > 1:
                size = plan.slots * plan.layer.num_neurons
                lines.append(arrays.state(f"{prefix}_ring_{plan.mark}", "uint8_t", size))
        if self._turns_frames:
            lines.append(arrays.state(f"{prefix}_frame", "uint8_t", self._size(None)))
        lines += self._sum_arrays()
        lines.append(arrays.state(f"{prefix}_results", "int32_t", self.network.outputs))
        lines.append(f"static uint32_t {prefix}_at;")
        arrays.state_bytes += 4
        lines.append(self._filled(RECORD_STATE, layers=len(plans)))
        if f"{prefix}_find(" in layers:
            lines.append(f"#if {prefix.upper()}_TOGETHER == 4")
            lines.append(arrays.constant(f"{prefix}_ones", ones_of(_TOGETHER), self._event))
            lines.append("#else")
            # On a wide processor, whose memory nobody counts.
            lines.append(
                Arrays().constant(f"{prefix}_ones", ones_of(_TOGETHER_IF_WIDE), self._event)
            )
            lines.append("#endif")
        lines += self._functions(layers + self.neurons[-1].result())
        return "\n".join(lines)

    def _functions(self, code: str) -> list[str]:
        """Return the functions that code calls, and those that these call, before them."""
        found: list[str] = []
        for name, template in reversed([*ARITHMETIC.items(), *FUNCTIONS.items()]):
            if f"{self.prefix}_{name}(" in code:
                listed = filled(LIST[self._event]) if name == "find" else ""
                found[:0] = ["", self._filled(template, list=listed)]
                code += found[1]
        return found

    def _size(self, source: int | None) -> int:
        """Return how many values a source sends in a step."""
        if source is None:
            return math.prod(self.network.input.shape)
        return self.plan.layers[source].layer.num_neurons

    @property
    def _turns_frames(self) -> bool:
        """Whether a frame has to be brought into the order with the channels last."""
        shape = self.network.input.shape
        return len(shape) > 1 and shape[0] > 1 and math.prod(shape[1:]) > 1

    def _sum_arrays(self) -> list[str]:
        """Return the arrays of the sums: one for all layers, and one each where they are kept."""
        arrays, lines = self.arrays, []
        shared: dict[str, int] = {}
        for plan in self.plan.layers:
            size = plan.layer.num_neurons
            if plan.keeps_sums:
                lines.append(arrays.state(f"{self.prefix}_sums_{plan.mark}", plan.sum_type, size))
            elif plan.summed:
                shared[plan.sum_type] = max(shared.get(plan.sum_type, 0), size)
        if shared:
            members = "; ".join(
                f"{ctype} {_MEMBERS[ctype]}[{size}]" for ctype, size in sorted(shared.items())
            )
            lines.append(f"static union {{ {members}; }} {self.prefix}_sums;")
            sizes = [size * (2 if ctype == "int16_t" else 4) for ctype, size in shared.items()]
            arrays.state_bytes += -(-max(sizes) // 4) * 4
        return lines

    def _sums(self, plan: LayerPlan) -> str:
        if plan.keeps_sums:
            return f"{self.prefix}_sums_{plan.mark}"
        return f"{self.prefix}_sums.{_MEMBERS[plan.sum_type]}"

    # One layer -----------------------------------------------------------------------------------

    def _layer(self, plan: LayerPlan) -> str:
        neurons = self.neurons[plan.index]
        takes_input = any(path.source is None for path in plan.paths)
        body = filled(
            "$sent\n$incoming\n$step",
            sent=self._sent(plan),
            incoming="\n".join(
                self._add(one, plan) for one in self.synapses[plan.index] if not one.path.is_read
            ),
            step=neurons.step(),
        )
        variables = []
        always = re.sub(r"#ifdef.*?#endif", "", body, flags=re.DOTALL)
        if "step" in body:
            value = f"{self.prefix}_at" + (f" - {plan.start}u" if plan.start else "")
            line = f"const uint32_t step = {value};"
            variables.append(line if "step" in always else neurons.recorded(line))
        if plan.layer.fires:
            variables.append(f"uint8_t *const spikes = {self._spikes(plan.index, 0)};")
        function = filled(
            """
            static void $name($argument)
            {
                $variables
                $body
            }
            """,
            name=f"{self.prefix}_layer_{plan.mark}",
            argument="const uint8_t *frame" if takes_input else "void",
            variables="\n".join(variables),
            body=body,
        )
        code = [synapses.code(self.arrays) for synapses in self.synapses[plan.index]]
        title = f"/* layer {plan.index + 1}: {comment(plan.layer.name)} */"
        state = neurons.arrays(self.arrays)
        return "\n\n".join(["\n".join([title, state]), *code, function])

    def _add(self, synapses: SummedSynapses, plan: LayerPlan) -> str:
        path = synapses.path
        if path.source is None:
            return filled(
                """
                if (frame != NULL)
                    $add(frame, ${prefix}_find_input(frame), $sums);
                """,
                add=synapses.function_name,
                prefix=self.prefix,
                sums=self._sums(plan),
            )
        call = (
            f"{synapses.function_name}({self.prefix}_find({self._spikes(path.source, path.held)}, "
            f"{self._size(path.source)}), {self._sums(plan)});"
        )
        return f"if (step < {plan.num_steps})\n    {call}" if plan.delay else call

    def _sent(self, plan: LayerPlan) -> str:
        """Return the spikes that the neurons read at their own places, and what one is worth."""
        lines = []
        for number, path in enumerate(plan.paths):
            if path.is_read:
                assert path.source is not None
                weight = f"{self.prefix}_weights_{path.mark}[0]"
                if plan.delay:
                    weight = f"step < {plan.num_steps} ? {weight} : 0"
                lines += [
                    f"const uint8_t *const sent_{number} = {self._spikes(path.source, path.held)};",
                    f"const int32_t weight_{number} = {weight};",
                ]
        return "\n".join(lines)

    def _spikes(self, index: int, held: int) -> str:
        """Return the array of the spikes that a layer sent some steps ago."""
        plan = self.plan.layers[index]
        if plan.slots == 1:
            place = self.places[index]
            return f"{self.prefix}_spikes + {place}" if place else f"{self.prefix}_spikes"
        slots = plan.slots
        now = f"{self.prefix}_at" if held == 0 else f"({self.prefix}_at + {slots - held}u)"
        return f"{self.prefix}_ring_{plan.mark} + {now} % {slots}u * {plan.layer.num_neurons}u"

    # What is called from outside -----------------------------------------------------------------

    def _interface(self) -> str:
        network, prefix = self.network, self.prefix
        kept = [self._sums(plan) for plan in self.plan.layers if plan.keeps_sums]
        begins = [neurons.begin() for neurons in self.neurons]
        begins += [f"memset({sums}, 0, sizeof {sums});" for sums in kept]
        record = f"#ifdef {prefix.upper()}_RECORD\nmemset({prefix}_left, 0, sizeof {prefix}_left);"
        begins.append(f"{record}\n#endif")
        takes_events = network.input.takes_events
        is_longer = self.plan.steps > network.num_steps
        first = "" if takes_events else f"if ({prefix}_at > 0)\n    frame = NULL;"
        return self._filled(
            INTERFACE,
            begins="\n".join(begins),
            result=self.neurons[-1].result(),
            turn=self._turn(),
            calls="\n".join(map(self._call, self.plan.layers)),
            first=first,
            check=self._check("frame", "INPUTS"),
            check_sample=self._check("sample", "SAMPLE") if takes_events else "",
            rest=(
                f"while ({prefix}_at < {self.plan.steps}u)\n    {prefix}_advance(NULL);"
                if is_longer
                else ""
            ),
            next_frame=f"sample + step * {prefix.upper()}_INPUTS" if takes_events else "sample",
        )

    def _call(self, plan: LayerPlan) -> str:
        takes_input = any(path.source is None for path in plan.paths)
        call = f"{self.prefix}_layer_{plan.mark}({'frame' if takes_input else ''});"
        now, conditions = f"{self.prefix}_at", []
        if plan.start > 0:
            conditions.append(f"{now} >= {plan.start}")
        if plan.end < self.plan.steps:
            conditions.append(f"{now} < {plan.end}")
        return f"if ({' && '.join(conditions)})\n    {call}" if conditions else call

    def _turn(self) -> str:
        if not self._turns_frames:
            return ""
        channels, *lengths = self.network.input.shape
        return self._filled(
            """
            if (frame != NULL) {
                uint32_t place, channel;
                for (channel = 0; channel < $channels; ++channel)
                    for (place = 0; place < $places; ++place)
                        ${prefix}_frame[place * ${channels}u + channel] = *frame++;
                frame = ${prefix}_frame;
            }
            """,
            channels=channels,
            places=math.prod(lengths),
        )

    def _check(self, array: str, number: str) -> str:
        """Return what leaves a function where an integer is too large; a frame may be none."""
        if self.network.input.bits == _BITS:
            return ""
        return self._filled(
            """
            if ($array != NULL) {
                uint8_t seen = 0;
                for (uint32_t at = 0; at < ${PREFIX}_$number; ++at)
                    seen = (uint8_t)(seen | $array[at]);
                if (seen > ${PREFIX}_INPUT_LARGEST)
                    return -1;
            }
            """,
            array=array,
            number=number,
        )

    # What the backend records --------------------------------------------------------------------

    def _record(self) -> str:
        rows, tables = [], []
        for plan, neurons, synapses in zip(
            self.plan.layers, self.neurons, self.synapses, strict=True
        ):
            recorded = ["NULL", "NULL", "0"]
            if plan.layer.fires:
                recorded = [neurons.name("counts"), neurons.name("final"), neurons.threshold]
            rows.append(
                f"    {{{', '.join([str(plan.channels), str(plan.positions), *recorded])}}}"
            )
            names = [*(one.weights_name for one in synapses), neurons.name("bias")]
            tables += [f"    {{{name}, sizeof {name}}}" for name in names]
        return self._filled(
            RECORD,
            layers=len(rows),
            rows=",\n".join(rows),
            number=len(tables),
            tables=",\n".join(tables),
        )


#: What a step takes, by whether the input is events.
_WHAT_COMES_IN: Final = {
    True: ", or NULL for none",
    False: ",\n   in the first step; NULL for none. What is given in later steps is not looked at",
}
#: Where sums of each type are.
_MEMBERS: Final = {"int16_t": "narrow", "int32_t": "wide"}
