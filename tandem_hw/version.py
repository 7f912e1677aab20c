"""The version of tandem-hw that is installed."""

from __future__ import annotations

from importlib import metadata


def installed_version() -> str:
    """Return the version, or "(not installed)" in a source tree that is not installed."""
    try:
        return metadata.version("tandem-hw")
    except metadata.PackageNotFoundError:
        return "(not installed)"
