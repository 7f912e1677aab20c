"""A forward pass of the training that waits for the device once, whatever the number of layers.

The integers of all layers stay where they are computed, and so does all that could be wrong with
them (``tandem_hw.arithmetic.deferred_checks``). Where something is, the pass is taken back and run
again in the way in which every layer looks at its own numbers at once.

A pass that was run a few times under the same circumstances is recorded with its backward pass and
launched as a whole from then on (``recorded_pass``).
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.learning.layers import Observer, TandemLayer
from tandem_hw.learning.passes.attempt import Attempt, Pass, RandomNumbers, attempt, put_back
from tandem_hw.learning.passes.circumstances import circumstances_of, may_be_recorded
from tandem_hw.learning.passes.recorded_pass import Recordings
from tandem_hw.learning.weights_in_effect import has_foreign_hooks


def may_be_deferred(model: nn.Module, inputs: Tensor) -> bool:
    """Return whether a forward pass can be taken back, and whether that saves anything.

    A CPU does not wait for itself. Evaluation takes its integers from the CPU in any case. Hooks on
    the layers would see a pass that is not used.

    Args:
        model: a tandem network.
        inputs: what it is called with.
    """
    return inputs.device.type != "cpu" and all(
        not has_foreign_hooks(module) and (module.training or not isinstance(module, TandemLayer))
        for module in model.modules()
        if module is not model
    )


class DeferredPass:
    """The forward passes of one model in training.

    Attributes:
        wrapping: names of the layers whose states have left 24 bits; in later passes they are run
            with wrap and clip at once, so that a pass is not run twice each time.
        watched: names of the layers that are looked at more closely in later passes
            (``DeferredChecks``).
        recordings: the passes that are launched as a whole.
    """

    def __init__(self) -> None:
        self.wrapping: frozenset[str] = frozenset()
        self.watched: frozenset[str] = frozenset()
        self.recordings = Recordings()

    def run(
        self,
        model: nn.Module,
        inputs: Tensor,
        run: Pass,
        observe: Observer | None,
        spiking: int | None = None,
    ) -> Tensor:
        """Run the layers once, or twice where a condition does not hold.

        Args:
            model: whose buffers a pass changes.
            inputs: what it is called with, on the device.
            run: one pass.
            observe: told of the pass that is used.
            spiking: how many layers spike in it; passes of another number are others.

        Returns:
            What the pass returns.
        """
        buffers = list(model.buffers())
        observed = observe is not None

        def once(given: Tensor) -> Attempt:
            checks = DeferredChecks(self.wrapping, self.watched)
            return attempt(run, given, buffers, checks, observed)

        recording = None
        modules = list(model.modules())
        if may_be_recorded(modules, inputs, observe):
            variant = (spiking, observed, self.wrapping, self.watched)
            recording = self.recordings.find(
                circumstances_of(modules, inputs, variant), once, inputs, model
            )
        random = RandomNumbers(inputs.device)
        tried = once(inputs) if recording is None else recording.launch(inputs)
        failed = tried.checks.failed()
        if failed is None:
            for layer, activity, integers in tried.told:
                assert observe is not None  # or nothing would have been told
                # Anew, since it keeps numbers that were read, and a recording comes with others.
                observe(layer, activity, replace(integers))
            return tried.output if recording is None else recording.joined()
        self.wrapping |= failed
        self.watched |= tried.checks.to_watch
        put_back(buffers, tried.before)
        random.restore()
        return run(inputs, observe, None)
