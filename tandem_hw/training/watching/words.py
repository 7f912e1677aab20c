"""The numbers of a training in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tandem_hw.counted import counted

_LABELS: Final = {"mse": "MSE", "mae": "MAE", "r2": "R^2", "psnr": "PSNR"}
_UNITS: Final = {"psnr": " dB"}


def shown(name: str, value: float) -> str:
    """Return a metric with its name and unit for the terminal."""
    if name == "accuracy":
        return f"accuracy {value:.2%}"
    return f"{_LABELS.get(name, name)} {value:.4g}{_UNITS.get(name, '')}"


def describe_epoch(epoch: Mapping[str, Any], seconds: float | None = None) -> str:
    """Return one line about an epoch's metrics.

    Args:
        epoch: its entry in ``metrics.json``.
        seconds: that it took, where that is known.
    """
    name = "accuracy" if "accuracy" in epoch else "mse"
    validation = epoch[f"validation_{name}"]
    held_out = "" if validation is None else f", validation {shown(name, validation)}"
    spiking = epoch.get("spiking_layers")
    stage = "" if spiking is None else f", {counted(spiking, 'layer spikes', 'layers spike')}"
    took = "" if seconds is None else f", {seconds:.1f} s"
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.4f}, {shown(name, epoch[name])}"
        f"{held_out}, spike rate {epoch['spike_rate']:.3f}{took}{stage}"
    )


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
