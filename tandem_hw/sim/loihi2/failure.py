"""What is kept of a run on a board that failed: a report, and all that its process has said.

The samples are not among it: a report can be sent to whoever looks into the failure.
"""

from __future__ import annotations

import platform
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from tandem_hw.atomic_write import reported, write_json
from tandem_hw.errors import FileFormatError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.child.leaving import ERROR
from tandem_hw.sim.loihi2 import job as loihi2_job
from tandem_hw.version import installed_version, package_versions

#: Version of the report.
REPORT_VERSION: Final = 1
REPORT_NAME: Final = "report.json"
#: The whole output of the child, as ``run_watched`` names it in the folder of a job.
LOG_NAME: Final = "output.txt"
#: What of a job's folder tells how far it was; each is there only from a moment on.
_KEPT: Final = (LOG_NAME, ERROR, loihi2_job.OPTIONS, loihi2_job.DELAYS, loihi2_job.PROFILE)


def default_folder() -> Path:
    """Return the name of a folder for a failure of now, in the current folder."""
    return Path(f"deploy-failure-{datetime.now():%Y%m%d-%H%M%S}")


def keep_failure(
    job: Path, kept: Path, network: QuantizedNetwork, samples: int, error: Exception, **about: Any
) -> list[str]:
    """Keep what is known of a run that failed, and say where.

    Args:
        job: the folder of the run.
        kept: the folder that it is copied to; it is made if missing.
        network: what was to run.
        samples: how many.
        error: why it failed.
        about: what else the report says, as plain data.

    Returns:
        Lines that come with the error.
    """
    try:
        with reported(kept):
            kept.mkdir(parents=True, exist_ok=True)
            for name in _KEPT:
                if (job / name).is_file():
                    shutil.copyfile(job / name, kept / name)
        write_json(kept / REPORT_NAME, _report(network, samples, error, about))
    except FileFormatError as full:
        return [f"what is known of the failure could not be kept: {full}"]
    return [
        f"{kept}: has the report ({REPORT_NAME}) and all that the process has said ({LOG_NAME}), "
        f'without your samples; docs/loihi2.md, "Send it back", says where to send it'
    ]


def _report(
    network: QuantizedNetwork, samples: int, error: Exception, about: dict[str, Any]
) -> dict[str, Any]:
    return {
        "failure_report": REPORT_VERSION,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "error": f"{type(error).__name__}: {error}",
        "tandem_hw": installed_version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "network_digest": network.digest,
        "num_steps": network.num_steps,
        "reset": network.reset,
        "readout": network.readout,
        "samples": samples,
        **about,
    }
