"""Say which packages are outdated or have known faults: check_dependencies.py 3.10 .venv [...]

Exit status 0: no known fault, all were looked up; 1: there are known faults; 2: it could not be
found out. That a pinned version is not the newest is told, and is no fault.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
#: A package that every index has: without an index pip finds nothing outdated, and does not say so.
PROBE = "pip"


def outdated(python: str) -> list[dict[str, str]] | None:
    """Return the installed packages that have newer versions, or None without an index."""
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    if run([*pip, "index", "versions", PROBE]).returncode:
        return None
    listed = run([*pip, "list", "--outdated", "--format", "json"])
    return None if listed.returncode else list(json.loads(listed.stdout))


def audit(python: str, lock: Path) -> list[dict[str, Any]] | str:
    """Return what pip-audit knows of each package of a lock, or why it cannot be asked."""
    installed = not run([python, "-c", "import pip_audit"]).returncode
    program = [python, "-m", "pip_audit"] if installed else [shutil.which("pip-audit") or ""]
    if program == [""]:
        return "pip-audit is not installed (pipx install pip-audit)"
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    found = run([*program, "--requirement", str(lock), *options])
    try:
        return list(json.loads(found.stdout)["dependencies"])
    except (ValueError, LookupError):
        last = found.stderr.strip().rpartition("\n")[2]
        return f"the index of advisories could not be reached ({last[:300]})"


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tell(version: str, folder: str) -> int:
    """Print what was found for an environment, and return the exit status."""
    python, status = f"{folder}/bin/python", 0
    print(f"Python {version}, {folder}")
    newer = outdated(python)
    if newer is None:
        print("  outdated: nothing is known, the index of packages could not be reached")
        status = 2
    for one in newer or ():
        print(f"  outdated: {one['name']} {one['version']}, the newest is {one['latest_version']}")
    if newer == []:
        print("  outdated: nothing")

    known = audit(python, FOLDER / f"python{version}.lock")
    if isinstance(known, str):
        print(f"  known faults: nothing is known, {known}")
        return 2
    faults = [(one, fault) for one in known for fault in one.get("vulns", ())]
    for one, fault in faults:
        mended = ", ".join(fault.get("fix_versions", ())) or "no version"
        print(f"  known fault: {one['name']} {one['version']}: {fault['id']}, mended in {mended}")
    skipped = [one["name"] for one in known if "vulns" not in one]
    if skipped:
        print(f"  known faults: nothing is known of {', '.join(skipped)}")
        status = 2
    print(f"  known faults: {len(faults)}; {len(known) - len(skipped)} of {len(known)} looked up")
    return 1 if faults else status


def main(arguments: list[str]) -> int:
    """Look at environments, each given by its version of Python and its folder."""
    statuses = [tell(*pair) for pair in zip(arguments[::2], arguments[1::2], strict=True)]
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
