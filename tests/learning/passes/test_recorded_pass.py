"""A pass that is recorded and launched as a whole trains as one that is run kernel by kernel.

On the CPU a recorder stands in for the GPU's. It repeats the operations of some work, not the work
itself, as a GPU repeats kernels; what the passes around it do is the same on both.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tandem_hw.arithmetic import exact_sums
from tandem_hw.arithmetic.gpu.launches import refuse_while_recording
from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.learning import model as model_module
from tandem_hw.learning.kinds.kind import FleetingObserver, ObservedNeurons
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.passes import deferred_pass, recorded_pass
from tandem_hw.learning.passes.circumstances import may_be_recorded
from tandem_hw.learning.quantizer import IntegerParameters
from tests.helpers.graph_networks import NETWORKS, PHASED_NETWORKS, converted, inputs_of
from tests.helpers.operation_recorder import OperationRecorder
from tests.helpers.wide_network import wide_model

Recorder = type[OperationRecorder]
STEPS = 7
#: Launches of a recording's trial.
TRIED = 2


class Erring:
    """Records work, and does another one in the pass that is to err."""

    errs_in = ""
    buffer: Tensor
    errors = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        recording: Any = work.__self__  # type: ignore[attr-defined]

        def repeat_badly() -> None:
            Erring.errors += 1
            forward = work.__name__ == "_run_forward"
            if forward and self.errs_in == "inputs":
                recording._inputs.zero_()
            work()
            if forward and self.errs_in == "output":
                recording.found.output.data[0, 0] += 1
            if forward and self.errs_in == "buffers":
                self.buffer.add_(1)
            if not forward and self.errs_in == "gradients":
                recording._gradients = [
                    None if one is None else one * 0.99 for one in recording._gradients
                ]

        return repeat_badly


class CannotRecord:
    """Records nothing."""

    tried = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        CannotRecord.tried += 1
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Record passes on the CPU."""

    def may(modules: list[nn.Module], inputs: Tensor, observe: Any) -> bool:
        wanted = bool(modules[0].launches_whole_passes) and torch.is_grad_enabled()
        return wanted and (observe is None or isinstance(observe, FleetingObserver))

    monkeypatch.setattr(model_module, "may_be_deferred", lambda *_: True)
    monkeypatch.setattr(deferred_pass, "may_be_recorded", may)
    monkeypatch.setattr(recorded_pass, "LaunchRecorder", OperationRecorder)
    monkeypatch.setattr(OperationRecorder, "launches", 0)
    # A GPU has no packed weights of oneDNN, which no operation could be repeated into.
    monkeypatch.setattr(exact_sums, "faster_byte_way", lambda _: None)
    return OperationRecorder


class Counts(FleetingObserver):
    """Adds up the spikes of every layer, and reads its numbers."""

    def __init__(self) -> None:
        self.sums: list[tuple[str, float, int | None, float]] = []

    def __call__(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        if activity.counts is not None:
            spikes = float(activity.counts.sum())
            self.sums.append((layer.name, spikes, integers.threshold, integers.unit))


Step = Callable[[TandemNetwork, Tensor, int], Any]


def pair(model: TandemNetwork) -> tuple[TandemNetwork, TandemNetwork]:
    """Return a model whose passes are recorded, and a copy of which none is."""
    other = copy.deepcopy(model)
    other.launches_whole_passes = False
    return model, other


def check_training(model: TandemNetwork, inputs: Tensor, step: Step | None = None) -> None:
    """Train in both ways, and compare outputs, spikes, gradients and all that is learnt."""
    results = []
    for one in pair(model.train()):
        torch.manual_seed(3)  # of the dropout
        optimizer = torch.optim.Adam(one.parameters(), 1e-2)
        counts, outputs = Counts(), []
        for number in range(STEPS):
            optimizer.zero_grad()
            if step is None:
                found = one(inputs, counts)
                (found - 1).square().mean().backward()
            else:
                found = step(one, inputs, number)
            outputs.append(found.detach())
            gradients = [p.grad.clone() for p in one.parameters() if p.grad is not None]
            outputs += gradients
            optimizer.step()
        assert any(gradient.any() for gradient in gradients)
        results.append((outputs, counts.sums, list(one.state_dict().values())))
    (outputs, sums, state), (other_outputs, other_sums, other_state) = results
    assert len(outputs) == len(other_outputs)
    assert all(map(torch.equal, outputs, other_outputs))
    assert sums == other_sums
    assert step is not None or any(spikes for _, spikes, *_ in sums)
    assert all(map(torch.equal, state, other_state))


@pytest.mark.parametrize("name", [*NETWORKS, *PHASED_NETWORKS])
def test_a_recorded_pass_trains_the_same_network(name: str, recorded: Recorder) -> None:
    model = converted(name, activation_max=0.06, learn_thresholds=True)
    check_training(model, inputs_of(model))
    assert recorded.launches == TRIED + 2 * (STEPS - 3)


@pytest.mark.parametrize(
    "options", [{"reset": "zero"}, {"firing_delay": 1}, {"firing_delay": "phased"}]
)
def test_other_neurons_are_recorded_as_well(options: dict[str, Any], recorded: Recorder) -> None:
    model = converted("residual", activation_max=0.06, **options)
    check_training(model, inputs_of(model))
    assert recorded.launches == TRIED + 2 * (STEPS - 3)


def test_gradients_add_up_over_passes(recorded: Recorder) -> None:
    def step(model: TandemNetwork, inputs: Tensor, number: int) -> Tensor:
        for part in inputs.split(6):
            found: Tensor = model(part)
            found.square().mean().backward()
        return found

    model = converted("residual", activation_max=0.06)
    check_training(model, inputs_of(model), step)
    assert recorded.launches == TRIED + 2 * (2 * STEPS - 3)


def test_a_pass_before_the_last_ones_backward_pass_is_no_launch(
    recorded: Recorder,
) -> None:
    def step(model: TandemNetwork, inputs: Tensor, number: int) -> Tensor:
        first, second = (model(part) for part in inputs.split(6))
        ((first - 1).square().mean() + (second - 2).square().mean()).backward()
        return torch.cat((first, second))

    model = converted("residual", activation_max=0.06)
    check_training(model, inputs_of(model), step)
    assert TRIED < recorded.launches < TRIED + 2 * STEPS


def test_an_output_that_nobody_learns_from_is_in_nobodys_way(
    recorded: Recorder,
) -> None:
    model, other = pair(converted("one axis", activation_max=0.06).train())
    inputs = inputs_of(model)
    for _ in range(6):
        assert torch.equal(model(inputs), other(inputs))
    assert recorded.launches == TRIED + 3
    kept = [model(inputs) for _ in range(3)]  # one of them may still be learnt from
    assert recorded.launches == TRIED + 4
    assert all(torch.equal(one, other(inputs)) for one in kept)


def test_an_output_keeps_its_values(recorded: Recorder) -> None:
    model = converted("residual", activation_max=0.06).train()
    inputs = inputs_of(model)
    for _ in range(5):
        model(inputs).sum().backward()
    first = model(inputs)
    first.sum().backward()
    values = first.detach().clone()
    gradient = model.layers[0].weight.grad.clone()
    model.zero_grad()
    other = model(inputs.flip(1))
    other.sum().backward()
    assert recorded.launches == TRIED + 2 * 4
    assert not torch.equal(other, values)
    assert torch.equal(first, values)
    assert not torch.equal(model.layers[0].weight.grad, gradient)


def test_a_second_backward_pass_is_refused(recorded: Recorder) -> None:
    model = converted("residual", activation_max=0.06).train()
    inputs = inputs_of(model)
    for _ in range(4):
        loss = model(inputs).sum()
        loss.backward(retain_graph=True)
    assert recorded.launches == TRIED + 2
    with pytest.raises(RuntimeError, match="launches_whole_passes = False"):
        loss.backward()
    model.launches_whole_passes = False
    loss = model(inputs).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert recorded.launches == TRIED + 2


def freeze(model: TandemNetwork) -> None:
    model.layers[0].weight.requires_grad_(False)


def change_momentum(model: TandemNetwork) -> None:
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).momentum = 0.9


def replace_a_parameter(model: TandemNetwork) -> None:
    model.layers[0].weight = nn.Parameter(model.layers[0].weight.detach() / 2)


def load(model: TandemNetwork) -> None:
    model.load_state_dict({name: value / 2 for name, value in model.state_dict().items()})


@pytest.mark.parametrize("change", [freeze, change_momentum, replace_a_parameter, load])
def test_a_change_between_passes_counts(
    change: Callable[[TandemNetwork], None], recorded: Recorder
) -> None:
    def step(model: TandemNetwork, inputs: Tensor, number: int) -> Tensor:
        if number == 5:
            change(model)
        found: Tensor = model(inputs[number % 2 :])
        found.square().mean().backward()
        return found

    model = converted("residual", activation_max=0.06)
    check_training(model, inputs_of(model), step)


def test_what_leaves_24_bits_is_taken_back(recorded: Recorder) -> None:
    model = wide_model().train()
    inputs = torch.randint(0, 256, (8, 40, 1, 1), dtype=torch.uint8)

    def step(one: TandemNetwork, given: Tensor, number: int) -> Tensor:
        if number == 4:  # recorded by now, and without what it had learnt of its states
            for layer in one.tandem_layers:
                layer.peak.zero_()
                assert layer.weight is not None
                layer.weight.data.mul_(3000)
        found: Tensor = one(given)
        found.square().mean().backward()
        return found

    check_training(model, inputs, step)
    assert recorded.launches > TRIED + 1


def test_what_cannot_be_recorded_runs_as_before(
    recorded: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_pass, "LaunchRecorder", CannotRecord)
    monkeypatch.setattr(CannotRecord, "tried", 0)
    model = converted("residual", activation_max=0.06)
    check_training(model, inputs_of(model))
    assert CannotRecord.tried == 1


@pytest.mark.parametrize("errs_in", ["inputs", "output", "buffers", "gradients"])
def test_a_recording_that_gives_something_else_is_not_used(
    errs_in: str, recorded: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = converted("residual", activation_max=0.06)
    monkeypatch.setattr(recorded_pass, "LaunchRecorder", Erring)
    monkeypatch.setattr(Erring, "errors", 0)
    monkeypatch.setattr(Erring, "errs_in", errs_in)
    monkeypatch.setattr(Erring, "buffer", model.tandem_layers[1].peak, raising=False)
    check_training(model, inputs_of(model))
    assert Erring.errors == TRIED
    (counted,) = model._deferred.recordings._counted
    assert counted.refused


def test_a_copy_and_a_moved_model_have_no_recordings(recorded: Recorder) -> None:
    model = converted("residual", activation_max=0.06).train()
    inputs = inputs_of(model)
    for _ in range(4):
        model(inputs).sum().backward()
    (counted,) = model._deferred.recordings._counted
    recording = weakref.ref(counted.recording)
    del counted
    assert recording() is not None
    assert not copy.deepcopy(model)._deferred.recordings._counted
    model.to("cpu")
    gc.collect()
    assert recording() is None


def test_few_recordings_are_kept(recorded: Recorder) -> None:
    model = converted("residual", activation_max=0.06).train()
    inputs = inputs_of(model)
    for samples in range(2, 7):
        for _ in range(4):
            model(inputs[:samples]).sum().backward()
    kept = model._deferred.recordings._counted
    assert sum(one.recording is not None for one in kept) == 2
    assert recorded.launches == 5 * (TRIED + 2)


def test_only_a_training_of_its_own_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    model = converted("residual").train()
    modules = list(model.modules())
    inputs: Any = SimpleNamespace(device=torch.device("cuda"), numel=lambda: 1)
    assert may_be_recorded(modules, inputs, None)
    assert may_be_recorded(modules, inputs, Counts())
    assert not may_be_recorded(modules, inputs, lambda *_: None)
    assert not may_be_recorded(modules, inputs_of(model), None)
    with torch.no_grad():
        assert not may_be_recorded(modules, inputs, None)
    with torch.autograd.anomaly_mode.set_detect_anomaly(True, check_nan=False):
        assert not may_be_recorded(modules, inputs, None)
    hook = model.layers[0].register_full_backward_hook(lambda *_: None)
    assert not may_be_recorded(modules, inputs, None)
    hook.remove()
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert not may_be_recorded(modules, inputs, None)
    hook.remove()
    assert may_be_recorded(modules, inputs, None)
    model.launches_whole_passes = False
    assert not may_be_recorded(modules, inputs, None)
    model.launches_whole_passes = True
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not may_be_recorded(modules, inputs, None)
    with pytest.raises(RuntimeError, match="cannot be tried while"):
        refuse_while_recording(inputs.device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", [{}, {"reset": "zero"}, {"firing_delay": 1}])
def test_a_gpu_launches_what_it_would_run(name: str, options: dict[str, Any]) -> None:
    model, other = pair(converted(name, activation_max=0.06, **options).train())
    device = torch.device("cuda")
    inputs = inputs_of(model).to(device)
    model.to(device)
    other.to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    found: list[Tensor] = []
    for _ in range(STEPS):
        other.load_state_dict(model.state_dict())  # so that a gradient's last bit does not matter
        outputs = []
        counts = []
        for one in (model, other):
            torch.manual_seed(3)
            one.zero_grad()
            counts.append(Counts())
            outputs.append(one(inputs, counts[-1]))
            (outputs[-1] - 1).square().mean().backward()
        assert torch.equal(*outputs)
        assert counts[0].sums == counts[1].sums
        assert any(spikes for _, spikes, *_ in counts[0].sums)
        for (key, value), another in zip(
            model.state_dict().items(), other.state_dict().values(), strict=True
        ):
            assert torch.equal(value, another), key
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            assert (ours.grad is None) == (theirs.grad is None)
            if ours.grad is not None and theirs.grad is not None:
                # The backward pass of cuDNN adds up in the order in which its threads come.
                scale = max(float(theirs.grad.abs().max()), 1e-30)
                assert float((ours.grad - theirs.grad).abs().max()) <= 1e-3 * scale
        optimizer.step()
        found.append(outputs[0].detach())
    assert not torch.equal(found[0], found[-1])
    kept = model._deferred.recordings._counted
    assert any(one.recording is not None for one in kept)
