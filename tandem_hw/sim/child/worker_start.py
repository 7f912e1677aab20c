"""What a worker process starts with: ``python -I worker_start.py PLACES MODULE FOLDER``.

``python -m`` would put the current folder before everything else, and the folders of PYTHONPATH
next: a ``queue.py`` or ``lava/__init__.py`` lying there would run in place of what Lava imports. So
Python is started in isolated mode (``-I``), which its resource tracker inherits, and only what is
added here is added:

- this very ``tandem_hw`` as a package, not by way of the folder that it lies in;
- the user's site-packages, at their usual place, where the parent has them;
- the folders of PYTHONPATH, and the source checkout that tandem_hw may lie in, behind everything
  else. They supply what is found nowhere else, as lava-loihi unpacked into a folder of its own, and
  shadow nothing.

``lava`` and the packages below it are namespaces, which have a part in every folder; a regular
package of the same name takes the place of all parts, in however late a folder it is. Hence the
finders. Lava looks for models in all files of a part that supplies it with a module.

Nothing of tandem_hw is imported before the paths stand. The parent's side is
``tandem_hw.sim.child.environment``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import site
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = "tandem_hw"


def set_paths(package: str, user_site: str | None, supplied: Sequence[str]) -> None:
    """Make everything importable that the parent's interpreter has, and ``PACKAGE``.

    Args:
        package: folder of ``tandem_hw`` itself.
        user_site: the user's site-packages, or None where they are not in use.
        supplied: folders that may add modules and replace none.
    """
    if user_site is not None:
        _add_user_site(user_site)
    home = os.path.dirname(package)
    if os.path.exists(os.path.join(home, "pyproject.toml")):  # an editable install puts it first
        sys.path[:] = [entry for entry in sys.path if entry != home]
        supplied = [home, *supplied]
    added = [entry for entry in dict.fromkeys(supplied) if entry not in sys.path]
    parts = set(added)
    usual = next(i for i, finder in enumerate(sys.meta_path) if finder is PathFinder)
    sys.meta_path.insert(usual, _Namespaces(added, parts))
    sys.meta_path.append(_Supplied(added))
    _import_package(package)


def _add_user_site(folder: str) -> None:
    """Add the user's site-packages before the interpreter's own, as ``site`` does."""
    before = list(sys.path)
    site.addsitedir(folder)
    added = sys.path[len(before) :]
    own = [before.index(entry) for entry in site.getsitepackages() if entry in before]
    place = min(own, default=len(before))
    sys.path[:] = [*before[:place], *added, *before[place:]]


def _import_package(folder: str) -> None:
    path = Path(folder) / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        PACKAGE, path, submodule_search_locations=[folder]
    )
    assert spec is not None  # the path ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


class _Namespaces(MetaPathFinder):
    """Gives a namespace package the parts that supplied folders hold; no package replaces it.

    Attributes:
        folders: the supplied folders.
        parts: these, and the parts of namespaces that were found in them.
    """

    def __init__(self, folders: Sequence[str], parts: set[str]) -> None:
        self.folders, self.parts = folders, parts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find what the interpreter's own folders have; a part alone is completed."""
        own = None if path is None else [entry for entry in path if entry not in self.parts]
        found = PathFinder.find_spec(fullname, own)
        if found is None or found.loader is not None:
            return found
        further = self.folders if path is None else [e for e in path if e in self.parts]
        complete = ModuleSpec(fullname, None, is_package=True)
        complete.submodule_search_locations = [
            *(found.submodule_search_locations or ()),
            *self._parts_of(fullname, further),
        ]
        return complete

    def _parts_of(self, fullname: str, folders: Iterable[str]) -> list[str]:
        parts: list[str] = []
        for folder in folders:
            found = PathFinder.find_spec(fullname, [folder])
            if found is not None and found.loader is None:
                parts += found.submodule_search_locations or ()
        self.parts.update(parts)
        return parts


class _Supplied(MetaPathFinder):
    """Finds in the supplied folders what no finder before it has found."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(folders)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module at the top level; below it, a package knows its own folders."""
        # What Python's library tries to import and lacks here, such as _winapi, it shall lack.
        if path is not None or fullname in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(fullname, self.folders)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        """Find what ``importlib.metadata`` asks for."""
        name = None if context is None else context.name
        return MetadataPathFinder.find_distributions(
            DistributionFinder.Context(name=name, path=self.folders)
        )


def main() -> None:
    """Set the paths and run the worker."""
    places, module, folder = sys.argv[1:]
    package = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))
    set_paths(package, **json.loads(places))
    importlib.import_module(module).main(Path(folder))


if __name__ == "__main__":
    main()
