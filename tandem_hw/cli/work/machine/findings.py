"""What was found about a part of this machine, as lines that can be pasted and as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from tandem_hw.counted import counted

State = Literal["works", "fails", "missing", "told"]

#: Version of the JSON report.
REPORT_VERSION: Final = 1
#: Characters of the column of names.
_NAMES_WIDTH: Final = 12
#: Sections of which all has to work.
CORE: Final = "core"


@dataclass(frozen=True)
class Finding:
    """One part of a machine.

    Attributes:
        section: what it belongs to.
        name: of the part.
        state: whether it works, fails though it is there, is missing, or is only told.
        found: its version and kind, or nothing.
        advice: why it does not work and what to do, or nothing.
    """

    section: str
    name: str
    state: State
    found: str = ""
    advice: str = ""


def line_of(finding: Finding) -> str:
    """Return a finding as a line."""
    word = {"works": "works", "fails": "DOES NOT WORK", "missing": "missing", "told": ""}
    parts = [part for part in (finding.found, word[finding.state]) if part]
    said = ", ".join(parts)
    advice = f": {finding.advice}" if finding.advice else ""
    return f"  {finding.name:<{_NAMES_WIDTH}} {said}{advice}"


@dataclass
class Findings:
    """All that was found."""

    all: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Take in one more."""
        self.all.append(finding)

    @property
    def core_works(self) -> bool:
        """Whether all of the core works."""
        core = [one for one in self.all if one.section == CORE]
        return bool(core) and all(one.state in ("works", "told") for one in core)

    @property
    def failing(self) -> list[str]:
        """Names of what is there and does not work."""
        return [one.name for one in self.all if one.state == "fails"]

    @property
    def verdict(self) -> str:
        """All of it in a sentence."""
        if not self.core_works:
            return "the core of tandem-hw does not work here; see the lines above"
        missing = sum(one.state == "missing" for one in self.all)
        rest = (
            f"; {counted(missing, 'optional part is', 'optional parts are')} missing"
            if missing
            else ""
        )
        if self.failing:
            return f"the core works, but not {', '.join(self.failing)}, though installed{rest}"
        return f"all that is installed works{rest}"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "doctor_report": REPORT_VERSION,
            "core_works": self.core_works,
            "verdict": self.verdict,
            "findings": [asdict(one) for one in self.all],
        }
