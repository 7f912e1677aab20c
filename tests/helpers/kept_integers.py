"""One network in evaluation, on the reference, in its file and in its checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tandem_hw.export.files import read_network, write_network
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify


def assert_kept_everywhere(
    model: TandemNetwork, network: QuantizedNetwork, inputs: Tensor, folder: Path
) -> Path:
    """Hold a model, what it was frozen to, a file of that and a checkpoint against each other.

    Returns:
        The checkpoint.
    """
    write_network(network, folder / "a.net")
    read = read_network(folder / "a.net")
    assert read.digest == network.digest
    report = verify(read, inputs.numpy(), None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    counts = ReferenceBackend().run(read, inputs.numpy()).counts
    assert all(values.any() for values in counts.values())
    save_checkpoint(Checkpoint(model), folder / "a.pt")
    assert freeze(load_checkpoint(folder / "a.pt").model).digest == network.digest
    return folder / "a.pt"
