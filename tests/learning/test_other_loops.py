"""A tandem network trains in loops that are not ours, and is copied as any module is."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import tandem_hw
from tandem_hw import TandemNetwork
from tandem_hw.errors import ConversionError
from tandem_hw.learning.checkpoint import Checkpoint

#: Steps of a training here.
STEPS = 4


def fresh() -> TandemNetwork:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Dropout(0.1), nn.Flatten(), nn.Linear(16, 3)),
    )
    return tandem_hw.convert(
        network, input_shape=(1, 4, 4), num_steps=3, firing_delay="phased", learn_thresholds=True
    )


def batches() -> DataLoader[tuple[Tensor, ...]]:
    """Return images in whose rows the class can be seen."""
    random = np.random.default_rng(0)
    labels = torch.arange(8 * STEPS) % 3
    inputs = torch.from_numpy(random.integers(0, 5, (8 * STEPS, 1, 4, 4), dtype=np.uint8))
    inputs[torch.arange(8 * STEPS), 0, labels] += 10
    return DataLoader(TensorDataset(inputs, labels), batch_size=8)


def assert_trained(model: TandemNetwork, before: TandemNetwork, path: Path) -> None:
    """Compare a model with its state before, and with its checkpoint."""
    old = before.state_dict()
    changed = [name for name, value in model.state_dict().items() if not value.equal(old[name])]
    assert [name for name in changed if name.endswith("weight")]
    assert [name for name in changed if name.endswith("running_var")]
    tandem_hw.save_checkpoint(model, path)
    loaded = tandem_hw.load_checkpoint(path).model
    (inputs, _), *_ = batches()
    assert model.eval()(inputs).std() > 0
    assert torch.equal(loaded(inputs), model(inputs))
    assert tandem_hw.freeze(loaded).digest == tandem_hw.freeze(model).digest


def imported(name: str) -> Any:
    """Import a package, or skip where it is not installed or does not start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, as it is imported
        try:
            return pytest.importorskip(name)
        except RuntimeError as error:  # torchvision of another version, which it imports
            pytest.skip(f"{name} does not start here: {error}")


@pytest.mark.exhaustive  # it takes ten seconds to be imported
@pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning.*")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:lightning.*")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning:lightning.*")
def test_lightning_trains_a_tandem_network(tmp_path: Path) -> None:
    lightning = imported("lightning")
    model = fresh()
    before = copy.deepcopy(model)

    class Spiking(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Spiking(), batches())
    assert trainer.global_step == STEPS
    assert_trained(model, before, tmp_path / "own.pt")


def test_accelerate_trains_a_tandem_network(tmp_path: Path) -> None:
    accelerate = imported("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = fresh()
    before = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    prepared, optimizer, loader = accelerator.prepare(model, optimizer, batches())
    losses = []
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(prepared(inputs), labels)
        accelerator.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert len(losses) == STEPS
    unwrapped = accelerator.unwrap_model(prepared)
    assert isinstance(unwrapped, TandemNetwork)
    assert_trained(unwrapped, before, tmp_path / "own.pt")
    accelerator.free_memory()


def _saved_whole(model: TandemNetwork) -> TandemNetwork:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: TandemNetwork = torch.load(file, weights_only=False)
    return loaded


def _state_only(model: TandemNetwork) -> TandemNetwork:
    other = TandemNetwork(model.architecture)
    other.load_state_dict(model.state_dict())
    return other.train(model.training)


COPIES: dict[str, Callable[[TandemNetwork], TandemNetwork]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": _saved_whole,
    "state_dict": _state_only,
    "to": lambda model: copy.deepcopy(model).to("cpu").double().float(),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_trains_on_as_the_model_does(way: str) -> None:
    model = fresh()
    for inputs, labels in batches():
        nn.functional.cross_entropy(model(inputs), labels).backward()
    model.zero_grad()
    other = COPIES[way](model)
    assert other.training
    assert other.architecture == model.architecture
    (inputs, labels), *_ = batches()
    gradients = []
    for one in (model, other):
        torch.manual_seed(3)  # of the dropout
        nn.functional.cross_entropy(one(inputs), labels).backward()
        gradients.append([parameter.grad for parameter in one.parameters()])
    assert any(bool(grad.any()) for grad in gradients[0] if grad is not None)
    for mine, its in zip(*gradients, strict=True):
        assert (mine is None) == (its is None)
        assert mine is None or torch.equal(mine, its)
    assert torch.equal(model.eval()(inputs), other.eval()(inputs))
    assert tandem_hw.freeze(model).digest == tandem_hw.freeze(other).digest


def test_a_checkpoint_of_a_model_alone_has_nothing_besides(tmp_path: Path) -> None:
    model = fresh()
    tandem_hw.save_checkpoint(model, tmp_path / "own.pt")
    tandem_hw.save_checkpoint(Checkpoint(model), tmp_path / "same.pt")
    assert (tmp_path / "own.pt").read_bytes() == (tmp_path / "same.pt").read_bytes()
    loaded = tandem_hw.load_checkpoint(tmp_path / "own.pt")
    assert (loaded.data, loaded.metrics, loaded.training, loaded.run) == ("", [], {}, "")


def test_what_is_no_tandem_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"is a Linear, not a tandem network"):
        tandem_hw.save_checkpoint(nn.Linear(3, 2), tmp_path / "own.pt")  # type: ignore[arg-type]
    model = fresh()
    model.register_parameter("own", nn.Parameter(torch.zeros(1)))
    with pytest.raises(ConversionError, match="own"):
        tandem_hw.save_checkpoint(model, tmp_path / "own.pt")
    assert not (tmp_path / "own.pt").exists()


def test_a_numpy_array_is_refused_with_what_to_give() -> None:
    model = fresh()
    with pytest.raises(ConversionError, match=r"found ndarray; .* give torch\.from_numpy\(array\)"):
        model(np.zeros((2, 1, 4, 4), np.uint8))
