"""The neurons of a layer in C: one pass over them a step, in integers of 32 bits.

The equations are those of ``tandem_hw.arithmetic.neurons``. Wrap and clip are left out where bounds
prove that they never happen; there the potential of a reset by subtraction, and of a readout, holds
the bias from the start.

What stands between ``#ifdef PREFIX_RECORD`` and ``#endif`` is compiled by the backend ``c`` alone,
which records more than a result.
"""

from __future__ import annotations

from dataclasses import dataclass

from tandem_hw.export.c99.plan import LayerPlan
from tandem_hw.export.c99.text import Arrays, filled, smallest_type
from tandem_hw.network.fixed_point import DECAY_UNITY, STATE_FRACTION_BITS, STATE_LIMIT

_FRACTION = 1 << STATE_FRACTION_BITS


def count_type(num_steps: int) -> str:
    """Return the type of a spike count, which is at most the length of a window."""
    return smallest_type(0, num_steps)


@dataclass(frozen=True)
class NeuronCode:
    """The neurons of one layer.

    Attributes:
        plan: the layer.
        prefix: what identifiers begin with.
        sums: the array of the sums of a step.
        is_counted: whether the result is their number of spikes.
    """

    plan: LayerPlan
    prefix: str
    sums: str
    is_counted: bool

    def name(self, what: str) -> str:
        """Return an identifier of the layer."""
        return f"{self.prefix}_{what}_{self.plan.mark}"

    @property
    def threshold(self) -> str:
        """The name of the threshold."""
        return f"{self.prefix.upper()}_THRESHOLD_{self.plan.index + 1}"

    @property
    def has_bias_inside(self) -> bool:
        """Whether the bias is part of the potential from the start."""
        return not self.plan.clears and self.plan.bounds.proven

    def recorded(self, code: str) -> str:
        """Return code that is compiled to record alone."""
        return f"#ifdef {self.prefix.upper()}_RECORD\n{code}\n#endif" if code else ""

    def arrays(self, arrays: Arrays) -> str:
        """Return the definitions of threshold, bias, state and spike counts."""
        plan, number = self.plan, self.plan.layer.num_neurons
        lines = [
            arrays.constant(self.name("bias"), plan.layer.neurons.bias),
            arrays.state(self.name("potential"), "int32_t", number),
        ]
        if plan.layer.neurons.leaks:
            lines.append(arrays.state(self.name("current"), "int32_t", number))
        if plan.layer.fires:
            lines.insert(0, f"#define {self.threshold} {plan.layer.neurons.threshold}")
            if self.is_counted:
                lines.append(arrays.state(self.name("counts"), count_type(plan.num_steps), number))
            else:
                counts = f"static {self.prefix}_count {self.name('counts')}[{number}];"
                lines.append(self.recorded(counts))
            lines.append(self.recorded(f"static int32_t {self.name('final')}[{number}];"))
        return "\n".join(lines)

    def begin(self) -> str:
        """Return what forgets the last window."""
        plan, potential = self.plan, self.name("potential")
        lines = [_zeros(potential)]
        if self.has_bias_inside:
            lines = [self._loop(f"{potential}[at] = {self.name('bias')}[channel];", braces=False)]
        if plan.layer.neurons.leaks:
            lines.append(_zeros(self.name("current")))
        if plan.layer.fires:
            zeros = _zeros(self.name("counts"))
            lines.append(zeros if self.is_counted else self.recorded(zeros))
        return "\n".join(lines)

    def step(self) -> str:
        """Return the pass over the neurons in a step; ``spikes`` takes theirs."""
        plan, fires = self.plan, self.plan.layer.fires
        body = filled(
            """
            $input
            $clear
            $integrate
            $see
            $left
            $fire
            """,
            input=self._input(),
            clear=f"{self.sums}[at] = 0;" if plan.summed and not plan.keeps_sums else "",
            integrate=self._integrate(),
            see=self.recorded(self._see()),
            left=self.recorded(self._left()),
            fire=self._fire() if fires else f"{self.name('potential')}[at] = potential;",
        )
        proven = plan.bounds.proven
        ends = [f"{self.prefix}_peak[{plan.index}] = peak;"]
        ends += [] if proven else [f"{self.prefix}_left[{plan.index}] += left;"]
        begins = [f"int32_t peak = {self.prefix}_peak[{plan.index}];"]
        begins += [] if proven else ["int64_t left = 0;"]
        return filled(
            """
            $variables
            $begins
            $loop
            $ends
            """,
            variables=(
                f"const int32_t may_fire = step >= {plan.delay};" if fires and plan.delay else ""
            ),
            begins=self.recorded("\n".join(begins)),
            loop=self._loop(body),
            ends=self.recorded("\n".join([*ends, *([self._keep()] if fires else [])])),
        )

    def result(self) -> str:
        """Return what writes the result in PyTorch's order."""
        value = f"{self.name('counts' if self.is_counted else 'potential')}[at]"
        if not self.is_counted and not self.plan.bounds.proven:
            value = f"{self.prefix}_clipped({value} + {self.name('bias')}[channel])"
        target = f"{self.prefix}_results[channel * {self.plan.positions}u + place]"
        return self._loop(f"{target} = {value};", braces=False)

    def _loop(self, body: str, *, braces: bool = True) -> str:
        """Return a loop over neurons, in one where their channel does not matter."""
        plan = self.plan
        opening, closing = (" {", "\n}") if braces else ("", "")
        indented = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
        if "channel" not in body:
            head = f"for (uint32_t at = 0; at < {plan.layer.num_neurons}; ++at)"
            return f"{head}{opening}\n{indented}{closing}"
        return filled(
            """
            for (uint32_t place = 0; place < $positions; ++place)
                for (uint32_t channel = 0; channel < $channels; ++channel) {
                    const uint32_t at = place * ${channels}u + channel;
                    $body
                }
            """,
            positions=plan.positions,
            channels=plan.channels,
            body=body,
        )

    def _input(self) -> str:
        """Return the line that adds up what comes in, in weight units."""
        plan = self.plan
        terms = []
        if plan.summed:
            term = f"{plan.unit} * {self.sums}[at]" if plan.unit > 1 else f"{self.sums}[at]"
            # Sums that are kept do not end by themselves where a window's input does.
            ends = plan.keeps_sums and plan.delay
            terms.append(f"(step < {plan.num_steps} ? {term} : 0)" if ends else term)
        for number, path in enumerate(plan.paths):
            if path.is_read:
                terms.append(f"weight_{number} * sent_{number}[at]")
        return f"const int32_t input = {' + '.join(terms)};"

    def _integrate(self) -> str:
        plan, neurons = self.plan, self.plan.layer.neurons
        code = filled(
            _INTEGRATE[self._kind, plan.bounds.proven],
            state=f"{self.name('potential')}[at]",
            current=f"{self.name('current')}[at]",
            bias=self._bias,
            prefix=self.prefix,
            unit=_FRACTION,
            current_kept=DECAY_UNITY - neurons.current_decay,
            voltage_kept=DECAY_UNITY - neurons.voltage_decay,
        )
        return f"{code}\n{self.name('current')}[at] = current;" if neurons.leaks else code

    @property
    def _kind(self) -> str:
        """What the neurons are: a current that stays, a voltage that a spike clears, or a leak."""
        if not self.plan.clears:
            return "current"
        return "leak" if self.plan.layer.neurons.leaks else "zero"

    @property
    def _bias(self) -> str:
        return f"{self.name('bias')}[channel]"

    @property
    def _with_bias(self) -> str:
        """The potential with its bias."""
        is_whole = self.has_bias_inside or self.plan.clears
        return "potential" if is_whole else f"potential + {self._bias}"

    def _see(self) -> str:
        """Return what follows the largest magnitude of a state."""
        see = f"{self.prefix.upper()}_SEE"
        lines = [f"{see}({self._with_bias});"]
        return "\n".join([*lines, f"{see}(current);"] if self.plan.layer.neurons.leaks else lines)

    def _left(self) -> str:
        """Return what counts the states that leave 24 bits."""
        plan = self.plan
        if plan.bounds.proven:
            return ""
        left = f"left += {_LEFT[self._kind]}"
        if plan.layer.fires:
            return f"{left};"
        # A readout is read once, after its last step.
        return filled(
            """
            ${left_now} || (step == $last
                && ($voltage >= $limit || $voltage <= -$limit));
            """,
            voltage=self._with_bias,
            left_now=left,
            last=plan.num_steps - 1,
            limit=STATE_LIMIT,
        )

    def _fire(self) -> str:
        plan, name = self.plan, self.name
        least = self.threshold
        if plan.fraction > 1:
            least = f"({least} - 1) * {plan.fraction} + 1"
        fired = f"{self._with_bias} >= {least}"
        if plan.delay:
            fired = f"({fired}) & may_fire"
        after = f"potential - (fired ? {self.threshold} : 0)"
        if plan.clears:
            after = "fired ? 0 : potential"
        count = f"{name('counts')}[at] = ({self.prefix}_count)({name('counts')}[at] + fired);"
        return "\n".join(
            [
                f"const int32_t fired = {fired};",
                f"{name('potential')}[at] = {after};",
                "spikes[at] = (uint8_t)fired;",
                count if self.is_counted else self.recorded(count),
            ]
        )

    def _keep(self) -> str:
        """Return what keeps the state behind the last step (``LayerActivity.final_state``)."""
        plan = self.plan
        state = f"{self.name('potential')}[at]"
        if not plan.clears:
            state = f"({state} + (spikes[at] ? {self.threshold} : 0))"
            if self.has_bias_inside:
                state = f"({state} - {self._bias})"
        scale = _FRACTION // plan.fraction
        loop = self._loop(f"{self.name('final')}[at] = {state} * {scale};", braces=False)
        last = plan.num_steps + plan.delay - 1
        indented = "\n".join(f"    {line}" for line in loop.splitlines())
        return f"if (step == {last}) {{\n{indented}\n}}"


def _zeros(name: str) -> str:
    return f"memset({name}, 0, sizeof {name});"


#: How a step changes a state, by what the neurons are and whether it is proven to fit 24 bits; and
#: what is true where the state has left them.
_INTEGRATE = {
    ("current", True): "const int32_t potential = $state + input;",
    ("current", False): """
        const int32_t before = $state + input;
        const int32_t potential = ${prefix}_wrapped(before);
        """,
    ("zero", True): "const int32_t potential = $state + input + $bias;",
    ("zero", False): """
        const int32_t current = ${prefix}_wrapped(input);
        const int32_t before = $state + (current + $bias) * $unit;
        const int32_t potential = ${prefix}_clipped_fine(before);
        """,
    ("leak", True): """
        const int32_t current = ${prefix}_kept($current, $current_kept) + input * $unit;
        const int32_t potential = ${prefix}_kept($state, $voltage_kept) + current + $bias * $unit;
        """,
    ("leak", False): """
        const int64_t charge = (int64_t)${prefix}_kept($current, $current_kept) + input * $unit;
        const int32_t current = ${prefix}_wrapped_fine(charge);
        const int64_t before = (int64_t)${prefix}_kept($state, $voltage_kept)
            + current + $bias * $unit;
        const int32_t potential = ${prefix}_clipped_fine(before);
        """,
}
_LEFT = {
    "current": "potential != before",
    "zero": "potential != before || current != input",
    "leak": "potential != before || current != charge",
}
