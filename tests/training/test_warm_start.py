from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.schedule import spiking_layers
from tandem_hw.training.warm_start import (
    calibrate_thresholds,
    is_tandem_checkpoint,
    load_parameters,
    load_tandem_parameters,
)
from tandem_hw.user_warnings import UncheckedFileWarning, UnusedParametersWarning
from tests.helpers.present import present
from tests.helpers.rounding import rounding_bound


def ordinary(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))


def tandem(num_steps: int = 4, firing_delay: Any = 0) -> TandemNetwork:
    return convert(ordinary(), input_shape=(8,), num_steps=num_steps, firing_delay=firing_delay)


def samples(count: int = 50) -> torch.Tensor:
    return torch.randint(0, 16, (count, 8), dtype=torch.uint8)


def test_an_ordinary_network_is_taken_up(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, fresh = ordinary(), ordinary()
    torch.save(trained.state_dict(), tmp_path / "ann.pt")
    assert not is_tandem_checkpoint(tmp_path / "ann.pt")
    load_parameters(fresh, tmp_path / "ann.pt")
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def _prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "DataParallel": lambda state: _prefixed(state, "module."),
    "compiled": lambda state: _prefixed(state, "_orig_mod."),
    **{
        wrapper: lambda state, wrapper=wrapper: _prefixed(state, f"{wrapper}.")  # type: ignore[misc]
        for wrapper in ("model", "net", "backbone", "any.thing")
    },
    "both": lambda state: _prefixed(state, "_orig_mod.module."),
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "a model": lambda state: {"model": _prefixed(state, "module."), "args": {"lr": 0.1}},
    "deeper": lambda state: {"best": {"model": state}, "optimizer": {"state": {0: {}}}},
}


@pytest.mark.parametrize("case", WRAPPED)
def test_parameters_are_found_in_what_training_programs_save(tmp_path: Path, case: str) -> None:
    torch.manual_seed(0)
    trained, fresh = ordinary(), ordinary()
    torch.save(WRAPPED[case](trained.state_dict()), tmp_path / "ann.pt")
    load_parameters(fresh, tmp_path / "ann.pt")
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


LIGHTNING: dict[str, Any] = {
    "epoch": 1,
    "pytorch-lightning_version": "2.5",
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
    "callbacks": {"ModelCheckpoint": {"best_model_score": torch.zeros(()), "dirpath": "runs"}},
    "optimizer_states": [{"state": {0: {"step": torch.zeros(())}}, "param_groups": [{"lr": 0.1}]}],
    "hyper_parameters": {"lr": 0.1},
}


def test_parameters_beside_the_network_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, fresh = ordinary(), ordinary()
    state = {"loss.weight": torch.ones(3), **_prefixed(trained.state_dict(), "net.")}
    state["metric.threshold"] = torch.ones(1)
    torch.save(LIGHTNING | {"state_dict": state}, tmp_path / "last.ckpt")
    with pytest.warns(
        UnusedParametersWarning, match=r"last\.ckpt: loss\.weight, metric\.threshold stand beside"
    ):
        load_parameters(fresh, tmp_path / "last.ckpt")
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def test_a_network_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    state = ordinary().state_dict()
    torch.save(_prefixed(state, "net.") | _prefixed(state, "ema."), tmp_path / "ann.pt")
    with pytest.raises(FileFormatError, match=r"parameters 2 times, below net\., ema\.; one is"):
        load_parameters(ordinary(), tmp_path / "ann.pt")


def test_every_name_that_does_not_fit_is_listed_with_one_that_is_near(tmp_path: Path) -> None:
    state = ordinary().state_dict()
    state["fc.weight"] = state.pop("0.weight")
    state["backbone.3.bias"] = state.pop("3.bias")
    state["1.weight"] = torch.ones(7)
    torch.save(state, tmp_path / "ann.pt")
    fresh = ordinary()
    with pytest.raises(FileFormatError, match="holds parameters of another network") as refused:
        load_parameters(fresh, tmp_path / "ann.pt")
    assert str(refused.value).splitlines()[1:] == [
        "missing 0.weight [6, 8]; did you mean fc.weight?",
        "missing 3.bias [3]; did you mean backbone.3.bias?",
        "unexpected fc.weight [6, 8]",
        "unexpected backbone.3.bias [3]",
        "of another shape 1.weight [7] instead of [6]",
    ]
    many = {f"layer{number}.weight": torch.ones(1) for number in range(60)}
    torch.save(many, tmp_path / "ann.pt")
    with pytest.raises(FileFormatError, match=r"\nand 29 more") as refused:
        load_parameters(fresh, tmp_path / "ann.pt")


class Foreign:
    """An object that a program saved along with its parameters."""


def test_a_file_with_other_objects_is_refused_by_their_class(tmp_path: Path) -> None:
    torch.save({"state_dict": ordinary().state_dict(), "config": Foreign()}, tmp_path / "ann.pt")
    with pytest.raises(
        FileFormatError, match=r"\(it holds tests\.training\.test_warm_start\.Foreign, and no code"
    ):
        load_parameters(ordinary(), tmp_path / "ann.pt")


def test_parameters_that_are_not_the_only_ones_are_refused(tmp_path: Path) -> None:
    state = ordinary().state_dict()
    torch.save({"model": state, "model_ema": dict(state)}, tmp_path / "ann.pt")
    with pytest.raises(FileFormatError, match=r"holds 2 dictionaries .* \(model, model_e"):
        load_parameters(ordinary(), tmp_path / "ann.pt")
    torch.save({"epoch": 3}, tmp_path / "ann.pt")
    with pytest.raises(FileFormatError, match=r"holds 0 dictionaries of parameters \(none\); one"):
        load_parameters(ordinary(), tmp_path / "ann.pt")


def test_a_tandem_network_is_taken_up_with_its_thresholds_for_another_window(
    tmp_path: Path,
) -> None:
    trained, fresh = tandem(7), tandem(3)
    with torch.no_grad():
        trained.tandem_layers[0].activation_max.fill_(1.25)
    save_checkpoint(Checkpoint(trained), tmp_path / "checkpoint.pt")
    assert is_tandem_checkpoint(tmp_path / "checkpoint.pt")
    load_tandem_parameters(fresh, tmp_path / "checkpoint.pt")
    assert torch.equal(
        present(fresh.tandem_layers[0].weight), present(trained.tandem_layers[0].weight)
    )
    assert fresh.tandem_layers[0].spike_value == 1.25 / 3


@pytest.mark.parametrize("before", [0, 1, "phased"])
@pytest.mark.parametrize("after", [0, 1, "phased"])
def test_weights_start_a_network_with_another_firing_delay(
    tmp_path: Path, before: Any, after: Any
) -> None:
    torch.manual_seed(0)
    trained, fresh = tandem(5, before), tandem(3, after)
    trained(samples())  # statistics and peaks
    save_checkpoint(Checkpoint(trained), tmp_path / "checkpoint.pt")
    load_tandem_parameters(fresh, tmp_path / "checkpoint.pt")
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert fresh.architecture.options.firing_delay == {0: 0, 1: 1, "phased": 2}[after]
    network = freeze(fresh)
    assert network.firing_delay == fresh.architecture.options.firing_delay
    assert [(layer.synapses[0].weight != 0).any() for layer in network] == [True, True]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ann.pt"
    with pytest.raises(FileFormatError, match="is no file"):
        load_parameters(ordinary(), path)
    path.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(FileFormatError, match="cannot be read as parameters"):
        load_parameters(ordinary(), path)
    torch.save([1, 2], path)
    with pytest.raises(FileFormatError, match="holds list, no parameters"):
        load_parameters(ordinary(), path)
    torch.save(ordinary(5).state_dict(), path)
    with pytest.raises(FileFormatError, match="holds parameters of another network"):
        load_parameters(ordinary(), path)
    save_checkpoint(Checkpoint(tandem()), path)
    with pytest.raises(FileFormatError, match="holds a tandem network"):
        load_parameters(ordinary(), path)
    other = convert(nn.Sequential(nn.Linear(8, 3)), input_shape=(8,), num_steps=4)
    with pytest.raises(FileFormatError, match="its network has other layers"):
        load_tandem_parameters(other, path)


def refusal(network: nn.Module, path: Path) -> str:
    """Return why a file was refused; nothing where it was not."""
    with warnings.catch_warnings():  # PyTorch comments on some damages besides
        warnings.simplefilter("ignore")
        try:
            load_parameters(network, path)
        except FileFormatError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("zipped", [True, False], ids=["as today", "as before torch 1.6"])
def test_a_damaged_file_is_refused_or_was_not_touched(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    trained, path = ordinary().state_dict(), tmp_path / "ann.pt"
    torch.save(trained, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    with (
        contextlib.nullcontext()
        if zipped
        else pytest.warns(
            UncheckedFileWarning,
            match=r"ann\.pt: is of the format before PyTorch 1\.6, which has no ch",
        )
    ):
        load_parameters(ordinary(), path)
    random = np.random.RandomState(1)
    refused = 0
    for place in random.randint(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.randint(8)
        path.write_bytes(damaged if random.rand() < 0.7 else whole[:place])
        fresh = ordinary()
        message = refusal(fresh, path)
        first, *names = message.split("\n")  # a damaged name is shown in its own line
        assert all(re.match("missing|unexpected|of another shape", line) for line in names)
        assert first or not names
        refused += bool(message)
        if zipped and not message:  # the older files have no checksums
            assert all(torch.equal(fresh.state_dict()[name], trained[name]) for name in trained)
    assert refused > 50


def test_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = ordinary().state_dict()
    state["1.running_var"][2] = float("inf")
    torch.save(state, tmp_path / "ann.pt")
    with pytest.raises(FileFormatError, match=r"ann\.pt: 1\.running_var holds values that are inf"):
        load_parameters(ordinary(), tmp_path / "ann.pt")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "1.weight",
            lambda value: value.to(torch.complex64),
            "holds 6 values of type torch.comple",
        ),
        ("1.bias", lambda value: value.bool(), "holds 6 values of type torch.bool"),
        ("1.running_var", lambda value: -value, "holds values below zero; save an earlier state"),
        ("1.weight", lambda value: value.double() * 1e200, "holds values that are infinite or not"),
        ("1.num_batches_tracked", lambda value: value.reshape(1)[:0], "parameters of another netw"),
        ("1.num_batches_tracked", lambda value: 3, "parameters of another network (Error(s) in lo"),
        ("0.weight", lambda value: value.to_sparse(), "holds a tensor of torch.sparse_coo on cpu"),
        ("0.weight", lambda value: value.to("meta"), "holds a tensor of torch.strided on meta"),
        ("0.weight", lambda value: value.long(), "holds 48 values of type torch.int64"),
        (
            "0.weight",
            lambda value: (value * 1e9).to(torch.float8_e5m2),
            "that are infinite or not a n",
        ),
        ("2.weight", lambda value: torch.zeros(2), "unexpected: 2.weight"),
    ],
)
def test_parameters_that_no_network_has_are_refused(
    name: str, change: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    state = ordinary().state_dict()
    torch.save(state | {name: change(state.get(name))}, tmp_path / "ann.pt")
    fresh = ordinary()
    before = {one: value.clone() for one, value in fresh.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said before it is refused
        with pytest.raises(FileFormatError) as told:
            load_parameters(fresh, tmp_path / "ann.pt")
    assert str(told.value).startswith(f"{tmp_path / 'ann.pt'}: ")
    assert message in str(told.value).split("\n")[0]
    for one, value in fresh.state_dict().items():  # nothing was loaded
        assert torch.equal(value, before[one]), one


def test_short_numbers_are_taken_up(tmp_path: Path) -> None:
    state = ordinary().state_dict() | {"0.weight": torch.ones(6, 8).to(torch.float8_e4m3fn)}
    torch.save(state, tmp_path / "ann.pt")
    fresh = ordinary()
    load_parameters(fresh, tmp_path / "ann.pt")
    assert torch.equal(fresh.state_dict()["0.weight"], torch.ones(6, 8))


class WithMore(nn.Linear):
    """Saves something beside its parameters."""

    more = ""

    def get_extra_state(self) -> str:
        return self.more

    def set_extra_state(self, state: str) -> None:
        self.more = state


def test_what_modules_save_beside_parameters_is_taken_up(tmp_path: Path) -> None:
    given, fresh = WithMore(2, 2), WithMore(2, 2)
    given.more = "kept"
    torch.save(given.state_dict(), tmp_path / "ann.pt")
    load_parameters(fresh, tmp_path / "ann.pt")
    assert fresh.more == "kept"


def test_a_network_without_values_is_refused(tmp_path: Path) -> None:
    torch.save(ordinary().state_dict(), tmp_path / "ann.pt")
    with pytest.raises(ConversionError, match=r"0\.weight of the network is on the meta device"):
        load_parameters(ordinary().to("meta"), tmp_path / "ann.pt")


def test_a_state_of_a_norm_that_counts_no_batches_is_taken_up(tmp_path: Path) -> None:
    state = ordinary().state_dict()
    del state["1.num_batches_tracked"]
    state._metadata["1"]["version"] = 1  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "ann.pt")
    fresh = ordinary()
    load_parameters(fresh, tmp_path / "ann.pt")
    assert torch.equal(fresh.state_dict()["1.weight"], state["1.weight"])


def test_a_calibrated_ceiling_is_a_percentile_of_the_ordinary_activations() -> None:
    torch.manual_seed(1)
    network = ordinary().eval()
    model = convert(network, input_shape=(8,), num_steps=4)
    inputs = samples()
    before = model.tandem_layers[1].activation_max.clone()
    found = calibrate_thresholds(model, inputs, 90)
    linear, norm, _ = network[:3].double()
    with torch.no_grad():
        real = inputs.double() / 15
        hidden = network[:3](real)
        # At most 9 terms and some ten operations of the normalisation act on these magnitudes.
        sums = real @ linear.weight.abs().T + linear.bias.abs() + norm.running_mean.abs()
        spread = (norm.running_var + norm.eps).sqrt()
        off = rounding_bound(20, float((sums * norm.weight.abs() / spread).max()))
    positive = np.sort(hidden[hidden > 0].numpy())
    assert len(positive) > 50
    wanted = positive[round(len(positive) * 0.9) - 1]
    assert wanted > 1000 * off
    assert found == {"dense1": pytest.approx(float(wanted), abs=off)}
    assert model.tandem_layers[0].spike_value == pytest.approx(float(wanted) / 4, abs=off)
    assert torch.equal(model.tandem_layers[1].activation_max, before)  # it never fires
    assert model.training
    assert float(calibrate_thresholds(model, inputs, 100)["dense1"]) == pytest.approx(
        float(positive[-1]), abs=off
    )


def test_calibration_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ConversionError, match="0 samples"):
        calibrate_thresholds(tandem(), samples(0))
    with pytest.raises(ConversionError, match="percentile of 0"):
        calibrate_thresholds(tandem(), samples(2), 0)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("layers", [1, 4, 20])
def test_the_progressive_schedule_only_grows_and_ends_with_all_layers(
    epochs: int, layers: int
) -> None:
    stages = [
        spiking_layers("progressive", epoch, epochs, layers) for epoch in range(1, epochs + 1)
    ]
    numbers = [layers if stage is None else stage for stage in stages]
    assert numbers == sorted(numbers)
    assert stages[-1] is None
    assert all(0 <= stage < layers for stage in stages if stage is not None)
    if epochs == 20 and layers == 4:
        assert numbers == [0] * 3 + [1] * 4 + [2] * 4 + [3] * 3 + [4] * 6


def test_at_most_three_names_of_each_kind_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "ann.pt"
    torch.save({f"layer{number}": torch.zeros(1) for number in range(5)}, path)
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    message = (
        r"network \(missing: 0\.weight, 0\.bias, 1\.weight and 4 more; unexpected: layer0, layer1, "
        r"layer2 and 2 more\); give the same --model .* by tandem_hw\.convert"
        r"\nmissing 0\.weight \[3, 2\]\nmissing 0\.bias \[3\]\n"
    )
    with pytest.raises(FileFormatError, match=message):
        load_parameters(network, path)
