"""What a model's parameters and the default dtype may be: exact, or refused in words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.synop_penalty import SynOpPenalty
from tandem_hw.training.warm_start import calibrate_thresholds
from tandem_hw.verification.step import verify
from tests.learning.test_graph_networks import NETWORKS, converted, inputs_of

SHORT = [torch.float16, torch.bfloat16]
OTHERS = [torch.float64, *SHORT]


#: A network with normalisation and skip paths.
FIRST = next(iter(NETWORKS))


@pytest.fixture(params=OTHERS, ids=str)
def other_default(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """The default dtype while a test runs; ``restored`` takes it back for a while."""
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def restored(build: Callable[[], Any]) -> Any:
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return build()
    finally:
        torch.set_default_dtype(dtype)


def step(model: TandemNetwork, inputs: Tensor, spiking: int | None = None) -> float:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    outputs = model(inputs, spiking=spiking)
    loss = F.cross_entropy(outputs, torch.arange(len(inputs)) % outputs.shape[1])
    loss.backward()
    optimizer.step()
    return loss.item()


def trained(name: str, **options: Any) -> tuple[TandemNetwork, Tensor]:
    model = converted(name, **options)
    inputs = inputs_of(model)
    step(model, inputs)
    with torch.no_grad():
        for _ in range(20):  # until the running statistics are about those of these inputs
            model(inputs)
    return model, inputs


def require_exact(model: TandemNetwork, inputs: Tensor) -> None:
    network = freeze(model.eval())
    backends = [ReferenceBackend(), PyTorchBackend(model)]
    verify(network, inputs.numpy(), None, backends).require_match()
    recorded = model.record(inputs)
    assert all(counts.any() for counts in recorded.counts.values())


@pytest.mark.parametrize(("name", "learnt"), [*((name, False) for name in NETWORKS), (FIRST, True)])
def test_a_double_model_is_exact_trains_and_is_kept(
    name: str, learnt: bool, tmp_path: Path
) -> None:
    model, inputs = trained(name, learn_thresholds=learnt)
    digest = freeze(model).digest
    model.double()
    assert freeze(model).digest == digest
    require_exact(model, inputs)
    model.train()
    for spiking in (None, 0, 1):
        assert np.isfinite(step(model, inputs, spiking))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    require_exact(model, inputs)
    path = tmp_path / "model.pt"
    save_checkpoint(Checkpoint(model), path)
    loaded = load_checkpoint(path).model
    assert freeze(loaded).digest == freeze(model).digest
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_a_double_model_has_the_gradient_of_a_float_model() -> None:
    gradients = []
    for double in (False, True):
        model = converted(FIRST)
        inputs = inputs_of(model)
        step(model.double() if double else model, inputs)
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert gradients[1].dtype == torch.float64
    assert torch.cosine_similarity(gradients[0].double(), gradients[1], 0) > 0.999


def test_the_synop_penalty_takes_a_double_model() -> None:
    spent = []
    for double in (False, True):
        model = converted(FIRST)
        inputs = inputs_of(model)
        penalty = SynOpPenalty(model.double() if double else model)
        model.eval()(inputs)
        spent.append(penalty.take().item())
    assert spent[0] > 0
    assert spent[1] == pytest.approx(spent[0], rel=1e-6)


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_a_model_with_too_few_digits_is_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    model, inputs = trained(FIRST)
    name = model.tandem_layers[0].name
    model.to(dtype)
    path = tmp_path / "model.pt"
    uses: list[Callable[[], object]] = [
        lambda: model(inputs),
        lambda: model(inputs, spiking=0),
        lambda: model.record(inputs),
        lambda: freeze(model),
        lambda: calibrate_thresholds(model, inputs),
        lambda: save_checkpoint(Checkpoint(model), path),
    ]
    pattern = rf"layer {name}: its parameters are {dtype}; .* Use model.float\(\) .*mixed_precision"
    for use in uses:
        with pytest.raises(ConversionError, match=pattern):
            use()
    assert not path.exists()
    require_exact(model.float(), inputs)


def test_two_formats_in_one_layer_are_refused() -> None:
    model, inputs = trained(FIRST)
    layer = next(one for one in model.tandem_layers if one.norm is not None)
    layer.norm.double()
    with pytest.raises(ConversionError, match=r"are torch.float32 and torch.float64; .* all torch"):
        model(inputs)
    with pytest.raises(ConversionError, match=f"layer {layer.name}"):
        freeze(model)
    with pytest.warns(UserWarning, match="Complex modules"):
        model.to(torch.complex64)
    with pytest.raises(ConversionError, match=r"are torch.complex64;"):
        freeze(model)


def test_layers_of_two_formats_are_exact() -> None:
    model, inputs = trained(FIRST)
    model.tandem_layers[0].double()
    require_exact(model, inputs)
    assert np.isfinite(step(model.train(), inputs))
    assert np.isfinite(step(model, inputs, 0))


def test_the_default_dtype_changes_nothing(other_default: torch.dtype, tmp_path: Path) -> None:
    model, inputs = restored(lambda: trained(FIRST))
    network = restored(lambda: freeze(model))
    before = restored(lambda: ReferenceBackend().run(network, inputs.numpy()))
    assert torch.get_default_dtype() == other_default
    assert freeze(model).digest == network.digest
    assert np.array_equal(ReferenceBackend().run(network, inputs.numpy()).output, before.output)
    require_exact(model, inputs)
    save_checkpoint(Checkpoint(model), tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt").model
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert freeze(loaded).digest == network.digest
    twins = [copy.deepcopy(model).train() for _ in range(2)]
    losses = [step(twins[0], inputs), restored(lambda: step(twins[1], inputs))]
    assert losses[0] == losses[1]
    assert freeze(twins[0]).digest == freeze(twins[1]).digest


def test_a_model_is_built_the_same_under_any_default_dtype(other_default: torch.dtype) -> None:
    architecture = restored(lambda: converted(FIRST, activation_max=0.3)).architecture
    torch.manual_seed(0)
    model = TandemNetwork(architecture)
    torch.manual_seed(0)
    expected = restored(lambda: TandemNetwork(architecture)).state_dict()
    for name, value in model.state_dict().items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name


def plain_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_an_ordinary_network_with_too_few_digits_is_refused(dtype: torch.dtype) -> None:
    pattern = rf"parameter 0.weight is {dtype}; convert takes .* use network.float\(\) first"
    with pytest.raises(ConversionError, match=pattern):
        convert(plain_network().to(dtype), input_shape=(6,), num_steps=4)


def test_an_ordinary_network_is_converted_under_any_default_dtype(
    other_default: torch.dtype,
) -> None:
    def build() -> TandemNetwork:
        return convert(network, input_shape=(6,), num_steps=4, activation_max=0.3)

    network = restored(plain_network)
    assert freeze(build()).digest == freeze(restored(build)).digest


def test_a_model_runs_the_same_in_every_context() -> None:
    model, inputs = trained(FIRST)
    require_exact(model, inputs)
    expected = model(inputs)
    rows = inputs.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not rows.is_contiguous()
    given = [rows, torch.stack([inputs, inputs], 1)[:, 1]]
    if inputs.dim() == 4:
        given.append(inputs.to(memory_format=torch.channels_last))
    for one in given:
        assert torch.equal(model(one), expected)
        with torch.no_grad():
            assert torch.equal(model(one), expected)
        with torch.inference_mode():
            assert torch.equal(model(one), expected)
        for dtype in SHORT:
            with torch.autocast("cpu", dtype):
                assert torch.equal(model(one), expected)
                with torch.inference_mode():
                    assert torch.equal(model(one), expected)
    with torch.inference_mode():
        model.train()(inputs)  # follows the statistics
    step(model, inputs)
    require_exact(model, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *SHORT], ids=str)
def test_inputs_in_floating_point_are_refused(dtype: torch.dtype) -> None:
    model, inputs = trained(FIRST)
    real = inputs.to(dtype).requires_grad_()
    with pytest.raises(ConversionError, match=f"found {dtype}; use tandem_hw.quantize_inputs"):
        model(real)


def test_checkpoints_of_version_1_are_read_under_any_default_dtype(
    other_default: torch.dtype, tmp_path: Path
) -> None:
    model = restored(lambda: trained(FIRST, activation_max=0.3)[0])
    for layer in model.tandem_layers:
        layer.peak.zero_()
    path = tmp_path / "model.pt"
    save_checkpoint(Checkpoint(model), path)
    content = torch.load(path, weights_only=True)
    content["format_version"] = 1
    content["parameters"] = {
        name: value
        for name, value in content["parameters"].items()
        if not name.endswith((".peak", ".activation_max"))
    }
    torch.save(content, path)
    assert freeze(load_checkpoint(path).model).digest == freeze(model).digest
