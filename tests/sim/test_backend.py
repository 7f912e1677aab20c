"""One way in which every backend runs: what is refused before, and what becomes a recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.errors import BackendUnavailableError, DataError, NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import BACKENDS, make_backend
from tests.helpers.recordings import LABELS, samples, small_network

NETWORK = small_network()


class Telling(Backend):
    """The reference under another name, which notes what is asked of it and may refuse it."""

    name = "telling"

    def __init__(self, missing: str | None = None, refused: str | None = None) -> None:
        self.missing, self.refused = missing, refused
        self.asked: list[str] = []

    def why_unavailable(self) -> str | None:
        self.asked.append("why_unavailable")
        return self.missing

    def check_network(self, network: QuantizedNetwork) -> None:
        self.asked.append("check_network")
        if self.refused is not None:
            raise NetworkError(self.refused)

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        self.asked.append("simulate")
        progress(0, len(inputs))
        result = ReferenceBackend().simulate(
            network, inputs, progress, keep_final_state=keep_final_state
        )
        return SimulationResult(**{**vars(result), "extra": {"delay": 3}})


def test_a_run_asks_in_one_order_and_records_what_was_found() -> None:
    backend, told = Telling(), list[tuple[int, int]]()
    expected = ReferenceBackend().run(NETWORK, samples(), LABELS, keep_final_state=True)
    found = backend.run(
        NETWORK, samples(), LABELS, lambda *done: told.append(done), keep_final_state=True
    )
    assert backend.asked == ["why_unavailable", "check_network", "simulate"]
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)
    assert found.backend == "telling"
    assert found.seconds > 0
    assert found.extra == {"delay": 3}
    assert expected.extra == {}
    assert set(found.counts) == {"conv", "hidden"}
    assert all(counts.any() for counts in found.counts.values())
    for name in ("counts", "synops", "saturation", "final_state"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[layer], theirs[layer]) for layer in theirs)
    for name in ("output", "prediction", "label"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    for name in ("network_digest", "input_digest", "readout", "peak", "parameter_digest"):
        assert getattr(found, name) == getattr(expected, name)
    assert len(found.final_state) == 2
    assert not backend.run(NETWORK, samples()).final_state
    assert backend.run(NETWORK, samples()).label is None


@pytest.mark.parametrize(
    ("backend", "change", "error", "asked"),
    [
        (Telling(missing="there is no board"), 1, BackendUnavailableError, ["why_unavailable"]),
        (Telling(), 9, DataError, ["why_unavailable"]),
        (Telling(refused="it leaks"), 1, NetworkError, ["why_unavailable", "check_network"]),
    ],
)
def test_what_cannot_run_is_refused_before_it_does(
    backend: Telling, change: int, error: type[Exception], asked: list[str]
) -> None:
    with pytest.raises(error, match=r"no board|takes 4-bit integers|leaks"):
        backend.run(NETWORK, samples() * np.uint8(change))
    assert backend.asked == asked


@pytest.mark.parametrize("name", [*BACKENDS, PyTorchBackend.name])
def test_every_backend_runs_by_the_template(name: str) -> None:
    kind = type(make_backend(name)) if name in BACKENDS else PyTorchBackend
    assert issubclass(kind, Backend)
    assert kind.run is Backend.run
    assert not kind.__abstractmethods__
    assert kind.name == name


def test_a_backend_that_leaves_something_out_cannot_be_made() -> None:
    class Half(Backend):
        name = "half"

        def why_unavailable(self) -> str | None:
            return None

    with pytest.raises(TypeError, match=r"abstract method.*check_network.*simulate"):
        Half()  # type: ignore[abstract]
