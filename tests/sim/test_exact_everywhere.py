"""The oracle against reference and model with whatever algorithm PyTorch has for a batch.

With oneDNN off, what a convolution runs on depends on the batch and the threads. A batch is a few
samples over and over at shuffled places, so that the oracle judges every place of it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tandem_hw import convert
from tandem_hw.conformance import oracle
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import networks, random_inputs
from tests.helpers.onednn import onednn
from tests.helpers.torch_threads import torch_threads

BATCHES = (1, 15, 16, 64)
THREADS = (1, 2)
DISTINCT = 3
#: Networks of one exhaustive case.
PART = 100
#: Resets, and encodings that make their neurons fire.
_SENT: list[tuple[Any, Any]] = [
    ("subtract", "first_step"),
    ("subtract", "constant"),
    ("subtract", "events"),
    ("zero", "constant"),
    ("zero", "events"),
]


def differences(expected: Recording, places: npt.NDArray[np.int64], found: Recording) -> int:
    wrong = int(np.sum(found.output != expected.output[places]))
    for name, counts in expected.counts.items():
        wrong += int(np.sum(found.counts[name] != counts[places]))
    return wrong


def model_differences(
    expected: Recording, places: npt.NDArray[np.int64], model: TandemNetwork, batch: Tensor
) -> int:
    recorded = model.record(batch)
    wrong = 0
    for name, counts in recorded.counts.items():
        wrong += int(np.sum(counts.numpy() != expected.counts[name][places]))
    if recorded.potential is not None:
        wrong += int(np.sum(recorded.potential.numpy() != expected.output[places]))
    return wrong


def check(
    network: QuantizedNetwork,
    random: np.random.Generator,
    model: TandemNetwork | None = None,
    switches: tuple[bool, ...] = (False,),
) -> Recording:
    """Compare every batch in every arithmetic with the oracle; return what the oracle says."""
    samples = random_inputs(network, DISTINCT, int(random.integers(1 << 31)))
    expected = oracle.record(network, samples)
    for size, threads, on in itertools.product(BATCHES, THREADS, switches):
        places = random.integers(0, DISTINCT, size)
        with torch_threads(threads), onednn(on):
            found = ReferenceBackend(batch_size=size).run(network, samples[places])
            assert differences(expected, places, found) == 0, (size, threads, on)
            if model is not None:
                batch = torch.from_numpy(samples[places])
                wrong = model_differences(expected, places, model, batch)
                assert wrong == 0, (size, threads, on)
    return expected


def random_model(random: np.random.Generator) -> TandemNetwork:
    """Return a convolutional network with random weights, most of it what transforms are for."""
    torch.manual_seed(int(random.integers(1 << 31)))
    axes = int(random.integers(1, 3))
    conv: Any = nn.Conv2d if axes == 2 else nn.Conv1d
    norm: Any = nn.BatchNorm2d if axes == 2 else nn.BatchNorm1d
    pool: Any = nn.AvgPool2d if axes == 2 else nn.AvgPool1d
    channels = int(random.integers(1, 5))
    shape = (channels, *random.integers(4, 8, axes).tolist())
    modules: list[nn.Module] = []
    for _ in range(random.integers(1, 3)):
        out, kernel = int(random.integers(2, 6)), int(random.choice([1, 2, 3, 3, 3, 4]))
        stride = int(random.choice([1, 1, 1, 2]))
        modules += [conv(channels, out, kernel, stride, kernel // 2), nn.ReLU()]
        if random.random() < 0.5:
            modules.insert(-1, norm(out))
        channels = out
    if axes == 2 and random.random() < 0.2:
        out = int(random.integers(1, 4))
        modules += [nn.ConvTranspose2d(channels, out, 2, int(random.integers(1, 3))), nn.ReLU()]
    image = nn.Sequential(*modules).eval()(torch.zeros(1, *shape)).shape[2:]
    if random.random() < 0.2 and min(image) > 1:
        modules.append(pool(2))
    modules.append(nn.Flatten())
    features = nn.Sequential(*modules).eval()(torch.zeros(1, *shape)).shape[1]
    modules.append(nn.Linear(features, 3))
    reset, encoding = _SENT[random.integers(len(_SENT))]
    model = convert(
        nn.Sequential(*modules),
        input_shape=shape,
        num_steps=int(random.integers(1, 5)),
        reset=reset,
        weight_bits=int(random.integers(2, 9)),
        input_bits=int(random.integers(1, 9)),
        encoding=encoding,
        readout="count" if random.random() < 0.3 else "potential",
        activation_max=float(random.choice([0.05, 0.1, 0.3])),
    )
    return model.eval()


def check_models(seeds: range, switches: tuple[bool, ...]) -> None:
    active = 0
    for number in seeds:
        random = np.random.default_rng(number)
        model = random_model(random)
        expected = check(freeze(model), random, model, switches)
        active += all(counts.any() for counts in expected.counts.values())
    assert active >= 0.6 * len(seeds)


def test_models_agree_with_the_oracle_with_and_without_onednn() -> None:
    check_models(range(4), (False, True))


@given(networks(), st.integers(0, 99))
@settings(deadline=None, max_examples=5)
def test_networks_agree_with_the_oracle_without_onednn(
    network: QuantizedNetwork, number: int
) -> None:
    check(network, np.random.default_rng(number))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(20))
def test_many_models_agree_with_the_oracle_without_onednn(part: int) -> None:
    check_models(range(1000 + part * PART, 1000 + (part + 1) * PART), (False,))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(5))
def test_many_networks_agree_with_the_oracle_without_onednn(part: int) -> None:
    @seed(part)
    @given(st.one_of(networks(), networks(), networks(overflowing=True)), st.integers(0, 99))
    @settings(
        deadline=None,
        max_examples=PART,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def check_network(network: QuantizedNetwork, number: int) -> None:
        check(network, np.random.default_rng(number))

    check_network()
