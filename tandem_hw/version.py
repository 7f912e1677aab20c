"""The versions of tandem-hw and of other packages that are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata


def installed_version() -> str:
    """Return the version, or "(not installed)" in a source tree that is not installed."""
    try:
        return metadata.version("tandem-hw")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed, by name."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
