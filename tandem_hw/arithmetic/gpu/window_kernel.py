"""A window of neurons as one kernel of a GPU, in Triton's language: see ``fused_window``.

A program takes some neurons of one sample through all steps. What a step needs stays in registers,
so that memory is read once, for the synaptic inputs, and written once, for what is wanted.

It computes what ``tandem_hw.arithmetic.states.fast_states`` computes, in the same order, and has no
product in it: there is nothing that a compiler could fuse into a multiplication and addition that
rounds once. That would not matter either: all values are integers below 2^24, and every result is
exact.

Triton comes with PyTorch where there is a GPU, and is imported when the kernel is wanted.
"""

# Triton reads the annotations as they stand here, so they are not to be postponed (PEP 563).

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    constexpr = Any

#: ``triton.language`` once it is imported; the kernel knows it by this name.
tl: Any = None


def compiled() -> Any:
    """Return the kernel, which is compiled when it is launched.

    Raises:
        ImportError: there is no Triton.
    """
    global tl
    import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
    import triton.language  # type: ignore[import-not-found, import-untyped, unused-ignore]

    tl = triton.language
    return triton.jit(integrate_and_fire)


def integrate_and_fire(  # type: ignore[no-untyped-def]
    first,
    rest,
    bias,
    threshold,
    membranes,
    counts,
    bits,
    lowest,
    highest,
    neurons,
    blocks,
    first_stride,
    rest_stride,
    step_stride,
    bias_stride,
    resting: "constexpr",
    num_steps: "constexpr",
    firing_delay: "constexpr",
    fires: "constexpr",
    zero: "constexpr",
    keeps: "constexpr",
    follows: "constexpr",
    block: "constexpr",
) -> None:
    """Run some neurons of a sample over a window of num_steps + firing_delay steps.

    Args:
        first: float32, the synaptic input of the first step; neurons of a sample side by side.
        rest: float32, those of the steps behind it, as far as there are any.
        bias: float32.
        threshold: float32, one value.
        membranes: float32 [batch, neurons], written.
        counts: int16 [batch, neurons], written if fires.
        bits: uint8 [batch, ceil(num_steps / 8), neurons], written if keeps.
        lowest: float32, lowest membrane of each program, written if follows; of a reset by
            subtraction in the steps with inputs.
        highest: float32, likewise.
        neurons: of a sample.
        blocks: programs of a sample.
        first_stride: from sample to sample of ``first``.
        rest_stride: from sample to sample of ``rest``.
        step_stride: from step to step of ``rest``; 0 where all are the same.
        bias_stride: from neuron to neuron of ``bias``, 0 or 1.
        resting: how many steps ``rest`` has.
        num_steps: steps in which neurons may fire.
        firing_delay: steps before them.
        fires: False for a readout.
        zero: reset to zero; otherwise the threshold is subtracted.
        keeps: whether the spikes are wanted.
        follows: whether the extremes are wanted.
        block: neurons of a program.
    """
    program = tl.program_id(0)
    sample = (program // blocks).to(tl.int64)
    neuron = (program % blocks) * block + tl.arange(0, block)
    inside = neuron < neurons
    charge = tl.load(bias + neuron * bias_stride, mask=inside, other=0.0)
    level = tl.load(threshold)
    first_inputs = tl.load(first + sample * first_stride + neuron, mask=inside, other=0.0)
    membrane = first_inputs + charge
    low = membrane
    high = membrane
    nothing = neuron & 0
    count = nothing
    packed = nothing
    # What is decided at compile time has no name: Triton would make a number of run time of it.
    for step in tl.static_range(num_steps + firing_delay):
        if step > 0:
            if step <= resting:
                place = rest + sample * rest_stride + (step - 1) * step_stride
                membrane += tl.load(place + neuron, mask=inside, other=0.0)
            if zero:
                membrane += charge
            if follows and (zero or step <= resting):
                # A reset by subtraction alone brings no state farther from zero.
                low = tl.where(membrane < low, membrane, low)
                high = tl.where(membrane > high, membrane, high)
        if fires and step >= firing_delay:
            fired = membrane >= level
            count += fired.to(tl.int32)
            packed += fired.to(tl.int32) << ((step - firing_delay) % 8)
            if zero:
                membrane = tl.where(fired, 0.0, membrane)
            elif step + 1 < num_steps + firing_delay:
                # Behind the last step nothing is subtracted, as in FastState.
                membrane = tl.where(fired, membrane - level, membrane)
            if keeps and ((step - firing_delay) % 8 == 7 or step + 1 == num_steps + firing_delay):
                group = sample * ((num_steps + 7) // 8) + (step - firing_delay) // 8
                tl.store(bits + group * neurons + neuron, packed.to(tl.uint8), mask=inside)
                packed = nothing
    tl.store(membranes + sample * neurons + neuron, membrane, mask=inside)
    if fires:
        tl.store(counts + sample * neurons + neuron, count.to(tl.int16), mask=inside)
    if follows:
        # What is no number compares with nothing and stays to the end: it is as low as can be.
        low = tl.where(membrane == membrane, low, -float("inf"))
        low = tl.where(inside, low, float("inf"))
        high = tl.where(inside, high, -float("inf"))
        tl.store(lowest + program, tl.min(low, axis=0))
        tl.store(highest + program, tl.max(high, axis=0))
