"""tandem-hw: spiking networks from PyTorch to neuromorphic hardware, the same bit for bit.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

import sys

#: True for type checkers. ``typing`` itself takes a moment, and so does a future's annotations.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from tandem_hw.conversion.convert import convert
    from tandem_hw.conversion.onnx.from_onnx import from_onnx
    from tandem_hw.conversion.preparation.prepare import prepare
    from tandem_hw.data.datasets import load_dataset
    from tandem_hw.data.event_data import bin_events, event_dataset
    from tandem_hw.data.own.arrays import array_dataset, image_dataset, signal_dataset
    from tandem_hw.data.own.torch_objects import torch_dataset
    from tandem_hw.data.recordings.files import read_events
    from tandem_hw.export.c99.writer import write_c
    from tandem_hw.export.freezing import freeze
    from tandem_hw.export.net_file import read_net, write_net
    from tandem_hw.export.netx_reader import read_netx
    from tandem_hw.export.nir_import import from_nir
    from tandem_hw.export.nir_reader import read_nir
    from tandem_hw.export.nir_writer import write_nir
    from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from tandem_hw.learning.model import TandemNetwork
    from tandem_hw.network.inputs import quantize_inputs
    from tandem_hw.network.output_meaning import OutputMeaning
    from tandem_hw.network.quantized import QuantizedNetwork
    from tandem_hw.network.recording import Recording
    from tandem_hw.sim.registry import make_backend
    from tandem_hw.training.loop import TrainingOptions, train
    from tandem_hw.training.warm_start import load_parameters
    from tandem_hw.verification.step import compare, verify

    __version__: str

_excepthook = sys.excepthook


def _without_a_word(
    kind: "type[BaseException]", error: "BaseException", trace: "TracebackType | None"
) -> None:
    """Say nothing of Ctrl-C; Python ends the process by the signal itself, as shells want it."""
    if not issubclass(kind, KeyboardInterrupt):
        _excepthook(kind, error, trace)


# Where this is the command and no library: Ctrl-C before there is anything that would handle it,
# and after that is gone. It stands here since this is the first line of ours that runs.
_program = "".join(getattr(sys, "argv", [])[:1])
if _program.endswith("/tandem-hw") or (_program == "-m" and __name__ in sys.orig_argv):
    sys.excepthook = _without_a_word

__all__ = [
    "Checkpoint",
    "OutputMeaning",
    "QuantizedNetwork",
    "Recording",
    "TandemNetwork",
    "TrainingOptions",
    "array_dataset",
    "bin_events",
    "compare",
    "convert",
    "event_dataset",
    "freeze",
    "from_nir",
    "from_onnx",
    "image_dataset",
    "load_checkpoint",
    "load_dataset",
    "load_parameters",
    "make_backend",
    "prepare",
    "quantize_inputs",
    "read_events",
    "read_net",
    "read_netx",
    "read_nir",
    "save_checkpoint",
    "signal_dataset",
    "torch_dataset",
    "train",
    "verify",
    "write_c",
    "write_net",
    "write_nir",
]

_HOMES = {
    "Checkpoint": "learning.checkpoint",
    "OutputMeaning": "network.output_meaning",
    "QuantizedNetwork": "network.quantized",
    "Recording": "network.recording",
    "TandemNetwork": "learning.model",
    "TrainingOptions": "training.loop",
    "array_dataset": "data.own.arrays",
    "bin_events": "data.event_data",
    "compare": "verification.step",
    "convert": "conversion.convert",
    "event_dataset": "data.event_data",
    "freeze": "export.freezing",
    "from_nir": "export.nir_import",
    "from_onnx": "conversion.onnx.from_onnx",
    "image_dataset": "data.own.arrays",
    "load_checkpoint": "learning.checkpoint",
    "load_dataset": "data.datasets",
    "load_parameters": "training.warm_start",
    "make_backend": "sim.registry",
    "prepare": "conversion.preparation.prepare",
    "quantize_inputs": "network.inputs",
    "read_events": "data.recordings.files",
    "read_net": "export.net_file",
    "read_netx": "export.netx_reader",
    "read_nir": "export.nir_reader",
    "save_checkpoint": "learning.checkpoint",
    "signal_dataset": "data.own.arrays",
    "torch_dataset": "data.own.torch_objects",
    "train": "training.loop",
    "verify": "verification.step",
    "write_c": "export.c99.writer",
    "write_net": "export.net_file",
    "write_nir": "export.nir_writer",
}


def __getattr__(name: str) -> "Any":
    import importlib

    if name == "__version__":
        return importlib.import_module(f"{__name__}.version").installed_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
