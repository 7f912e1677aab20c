"""The optional parts, as the installed package names them, and whether what they need is there."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from tandem_hw.cli.work.machine.findings import Finding
from tandem_hw.errors import how_to_install

#: Extras for those who change tandem-hw.
_FOR_DEVELOPERS: Final = frozenset({"dev", "docs", "peers"})
#: Packages that run in processes of their own, where their backend imports them.
_NOT_IMPORTED: Final = frozenset({"sanafe"})
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)[^;]*;.*extra\s*==\s*['\"]([\w-]+)['\"]")
_SECTION: Final = "extras"


def version_of(package: str) -> str | None:
    """Return the version of a package that is installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """Return the packages of each extra, as the metadata of tandem-hw say."""
    try:
        required = metadata.requires("tandem-hw") or []
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return {}
    found: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIREMENT.match, required)):
        package, extra = match.groups()
        if extra not in _FOR_DEVELOPERS:
            found.setdefault(extra, []).append(package)
    return found


def look_at_extras() -> Iterator[Finding]:
    """Yield for each extra whether its packages are there and can be imported."""
    for extra, packages in extras().items():
        versions = {package: version_of(package) for package in packages}
        missing = [package for package, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing:
            lacking = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
            yield Finding(_SECTION, extra, "missing", found, f"{lacking}; {how_to_install(extra)}")
            continue
        failure = next(filter(None, map(_why_not_imported, packages)), None)
        if failure is None:
            yield Finding(_SECTION, extra, "works", found)
        else:
            advice = f"{failure}; install it anew: {how_to_install(extra)}"
            yield Finding(_SECTION, extra, "fails", found, advice)


def _why_not_imported(package: str) -> str | None:
    """Import a package and return what went wrong, or None."""
    if package in _NOT_IMPORTED:
        return None
    modules = [
        module
        for module, packages in metadata.packages_distributions().items()
        if package in packages and not module.startswith("_") and module.isidentifier()
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for module in modules[:1]:
                importlib.import_module(module)
    except Exception as error:  # whatever somebody else's package raises as it is imported
        lines = str(error).splitlines() or [""]
        return f"{package} cannot be imported ({type(error).__name__}: {lines[0]})"
    return None
