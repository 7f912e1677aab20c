"""The lava-cpu backend: Lava's bit-accurate CPU simulator, in a watched child process."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendError
from tandem_hw.export.net_file import write_net
from tandem_hw.network import QuantizedNetwork
from tandem_hw.recording import Recording
from tandem_hw.sim import lava_job
from tandem_hw.sim.backend import Progress, check_inputs, make_recording, require_available
from tandem_hw.sim.watched_process import run_watched
from tandem_hw.timing import check_period, default_period, window_start

#: Every Lava Process is an operating-system process of its own; threads inside them only compete.
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}
#: Python's multiprocessing keeps a socket in the temporary folder, below a folder of its own, and
#: leaves both there when it is killed. With 32 bytes for the two names, a longer path would leave
#: the 103 bytes that the path of a socket may have on every system.
_SOCKET_FOLDER_BYTES = 103 - 32


class LavaCpuBackend:
    """Runs a network as a Lava process graph on the CPU.

    Attributes:
        period: steps from one sample to the next; the shortest legal one when None.
        stock_conv: use Lava's own slow model of ``Conv`` instead of the drop-in.
        start_timeout: seconds that Lava may take to build the graph.
        stall_timeout: seconds without a finished step after which the run counts as hanging.
    """

    name = "lava-cpu"

    def __init__(
        self,
        *,
        period: int | None = None,
        stock_conv: bool = False,
        start_timeout: float = 120.0,
        stall_timeout: float = 20.0,
    ) -> None:
        self.period = period
        self.stock_conv = stock_conv
        self.start_timeout = start_timeout
        self.stall_timeout = stall_timeout

    def why_unavailable(self) -> str | None:
        """Return why Lava cannot run here, or None if it can."""
        if _lava_is_installed():
            return None
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"backend {self.name}: Lava is not installed (this is Python {version}; lava-nc 0.10.0 "
            f"exists for Python 3.10 only). Use Python 3.10 and pip install tandem-hw, or use "
            f"--backend reference, which gives the same counts"
        )

    def run(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> Recording:
        """Run every sample back to back; see ``Backend.run``."""
        require_available(self)
        check_inputs(network, inputs)
        started = time.perf_counter()
        period = default_period(network) if self.period is None else self.period
        check_period(network, period)
        with tempfile.TemporaryDirectory(prefix="tandem-hw-") as name:
            folder = Path(name)
            write_net(network, folder / lava_job.NETWORK)
            np.save(folder / lava_job.INPUTS, inputs)
            options = {"period": period, "stock_conv": self.stock_conv}
            (folder / lava_job.OPTIONS).write_text(json.dumps(options), encoding="utf-8")
            self._run_child(folder, len(network.layers), len(inputs), period, progress)
            counts, potential = _read_results(network, folder, len(inputs))
        seconds = time.perf_counter() - started
        return make_recording(self.name, network, inputs, labels, counts, potential, seconds)

    def _run_child(
        self, folder: Path, depth: int, samples: int, period: int, progress: Progress | None
    ) -> None:
        def finished_steps() -> int:
            steps = _read_progress(lava_job.progress_path(folder, depth))
            if progress is not None:
                progress(min(samples, max(0, steps - window_start(depth)) // period), samples)
            return steps

        run_watched(
            [sys.executable, "-m", "tandem_hw.sim.lava_worker", str(folder)],
            name=f"the Lava child process of backend {self.name}",
            folder=folder,
            environment=_environment(folder),
            progress=finished_steps,
            start_timeout=self.start_timeout,
            stall_timeout=self.stall_timeout,
            error_file=folder / lava_job.ERROR,
        )


def _environment(folder: Path) -> dict[str, str]:
    """Return the child's environment; what it leaves in its temporary folder goes with ours."""
    environment = os.environ | _ONE_THREAD
    if len(os.fsencode(folder)) <= _SOCKET_FOLDER_BYTES:
        environment["TMPDIR"] = str(folder)
    return environment


def _lava_is_installed() -> bool:
    """Look for Lava's runtime without importing it."""
    try:
        return importlib.util.find_spec("lava.magma") is not None
    except ModuleNotFoundError:
        return False


def _read_progress(path: Path) -> int:
    """Read the last finished step; the file appears when the graph is built."""
    try:
        return int(np.load(path, allow_pickle=False)[0])
    except (OSError, ValueError, EOFError):
        return 0


def _read_results(
    network: QuantizedNetwork, folder: Path, samples: int
) -> tuple[dict[str, npt.NDArray[np.int32]], npt.NDArray[np.int32] | None]:
    """Read what the child left, in PyTorch's axis order, and check that it is complete."""
    try:
        counts = {
            layer.name: _torch_order(np.load(lava_job.counts_path(folder, index)))
            for index, layer in enumerate(network.layers, start=1)
            if layer.threshold is not None
        }
        potential = None
        if network.readout == "potential":
            potential = np.load(folder / lava_job.POTENTIAL).astype(np.int32)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the Lava child process ended without its results ({error}); run it again"
        ) from error
    if potential is not None and potential.shape != (samples, network.layers[-1].neurons):
        raise BackendError(f"the Lava child process left potentials of shape {potential.shape}")
    return counts, potential


def _torch_order(counts: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Turn [samples, W, H, C] into [samples, C, H, W]; vectors stay as they are."""
    return np.ascontiguousarray(counts.transpose(0, 3, 2, 1) if counts.ndim == 4 else counts)
