"""The versions of what is installed: tandem-hw, and what a run depends on."""

from __future__ import annotations

from importlib import metadata
from typing import Final

#: Packages whose versions reports tell, where they are installed.
_PACKAGES: Final = (
    *("numpy", "torch", "h5py", "scipy", "lava-nc", "lava-dl", "lava-loihi", "nxcore", "sanafe"),
)


def installed_version() -> str:
    """Return the version, or "(not installed)" in a source tree that is not installed."""
    try:
        return metadata.version("tandem-hw")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a run may depend on, of those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
