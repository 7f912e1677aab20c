"""What a report needs is asked for before any work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tandem_hw.errors import BackendUnavailableError, FileFormatError
from tandem_hw.report.page.require import require_picture, require_report


def test_names_say_what_a_file_is() -> None:
    require_report(Path("a.HTML"))
    require_picture(Path("a.svg"))
    require_picture(Path("a.PNG"))
    with pytest.raises(FileFormatError, match=r"a\.pdf: reports are HTML; .*ends in \.html"):
        require_report(Path("a.pdf"))
    with pytest.raises(FileFormatError, match=r"a\.jpg: traces are drawn as SVG or PNG"):
        require_picture(Path("a.jpg"))


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_the_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (package, "matplotlib.figure") if package == "matplotlib" else (package,):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        BackendUnavailableError, match=rf"reports need {package}, .*pip install '\.\[report\]'$"
    ):
        require_report(Path("a.html"))
