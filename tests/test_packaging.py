"""What a package index and an installation show of the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)]+)\)")


def test_the_readme_of_a_release_has_absolute_links_only(tmp_path: Path) -> None:
    """The commands of CONTRIBUTING.md, run as they stand there."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", contributing, re.DOTALL)
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True, timeout=30)
    before, after = (
        LINK.findall((folder / "README.md").read_text(encoding="utf-8"))
        for folder in (ROOT, tmp_path)
    )
    assert any("://" not in link for link in before)
    assert len(after) == len(before)
    assert all(link.startswith("https://") for link in after)
    assert [link for link in after if "/raw/" in link] == [
        next(link for link in after if link.endswith("/docs/pipeline.svg"))
    ]
    for old, new in zip(before, after, strict=True):
        assert new.endswith(old)
