"""The report of a training: its curves, and what the network that it left does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.work.look.pages import digests, saturation_verdicts
from tandem_hw.cli.work.look.run_folder import RunFolder, read_run_folder
from tandem_hw.cli.work.look.run_sections import (
    activity_section,
    chip_section_of_run,
    judgement_section,
    metric_figure,
    run_figures,
    sample_section,
)
from tandem_hw.cli.work.look.sections import (
    chip_section,
    layers_table,
    network_section,
    provenance_section,
)
from tandem_hw.cli.work.samples import Samples, load_samples
from tandem_hw.cli.work.simulate import run_samples
from tandem_hw.counted import counted
from tandem_hw.errors import DataError, FileFormatError, TandemError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.activity import summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.page.content import Figure, Page, Section, Verdict
from tandem_hw.report.page.curves import training_section
from tandem_hw.report.page.page import write_page
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.run_summary import RunSummary
from tandem_hw.training.methods.learning_rate import planned_rates
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.run_files import BEST_NAME, file_digest
from tandem_hw.user_warnings import TandemWarning

#: Points of the curve of the learning rate, about.
_RATE_POINTS = 200


@dataclass(frozen=True)
class _Ran:
    """A network with what it did with the test samples."""

    given: Samples
    run: RunSummary
    metrics: Mapping[str, float]


def write_folder_report(
    wanted: WantedReport, folder: Path, data: str | None, samples: int | None
) -> None:
    """Write the report of a training.

    Args:
        wanted: where, and with what.
        folder: of the training.
        data: the data set whose test part is run, or None for the one that it was trained on. That
            may not be here any more, and then what needs it is left out with a warning.
        samples: only so many samples; None for all.

    Raises:
        TandemError: the folder holds no training, or the data do not fit its network.
    """
    found = read_run_folder(folder)
    network = _network(folder, found)
    ran = None if network is None else _ran(network, found, data, samples, wanted)
    verdicts = _verdicts(found, network)
    figures: list[Figure] = [
        metric_figure(name, value, "test ") for name, value in found.tested.items()
    ]
    sections: list[Section] = [training_section(found.epochs, _learning_rates(found.options))]
    named: dict[str, str] = {BEST_NAME: file_digest(folder / BEST_NAME)} if network else {}
    if network is not None and ran is not None:
        layers = summarise(network, ran.run)
        verdicts += [
            *_agreement(found, ran, network, is_whole=samples is None and data is None),
            *saturation_verdicts(network, [ran.run]),
        ]
        figures = run_figures(ran.run, layers, ran.metrics)
        sections += [
            judgement_section(network, ran.given, ran.run),
            activity_section(network, [ran.run], layers),
            sample_section(network, ran.given, wanted.sample),
            chip_section_of_run(network, ran.run),
            network_section(network),
        ]
        named |= digests(network, ran.given)
    elif network is not None:
        sections += [chip_section(network), network_section(network)]
        named["network"] = network.digest
    sections += _results(found)
    sections.append(provenance_section(_options(wanted, found), named))
    title = f"Training on {found.data}"
    write_page(Page(title, f"{wanted.command} {folder}", verdicts, figures, sections), wanted.path)


def _network(folder: Path, found: RunFolder) -> QuantizedNetwork | None:
    """Return the best network as integers, or None where no network ever spiked."""
    if found.options.get("schedule") == "ordinary":
        return None
    path = folder / BEST_NAME
    best = load_checkpoint(path)
    if best.run != found.run:
        raise FileFormatError(
            f"{path}: is of another training than metrics.json beside it; put the right one back"
        )
    return integer_network(best.model)


def _ran(
    network: QuantizedNetwork,
    found: RunFolder,
    data: str | None,
    samples: int | None,
    wanted: WantedReport,
) -> _Ran | None:
    """Run the test samples on the reference; None where those of the training are not here."""
    try:
        given = load_samples(network, data or found.data, samples)
    except TandemError as error:
        if data is not None or samples is not None:
            raise
        warnings.warn(
            f"the report is without test samples ({error}); name them with --data",
            TandemWarning,
            stacklevel=2,
        )
        if wanted.sample is not None:
            raise DataError(
                f"--report-sample {wanted.sample}: there are no test samples; give --data"
            ) from error
        return None
    if wanted.sample is not None:
        given.require_sample(wanted.sample, data or found.data)
    run = run_samples(network, ReferenceBackend(), given)
    return _Ran(given, run, given.measure(network, run))


def _verdicts(found: RunFolder, network: QuantizedNetwork | None) -> list[Verdict]:
    planned = found.options.get("epochs")
    done = len(found.epochs)
    of_all = "" if done == planned else f" of {planned}"
    epochs = f"{done}{of_all} {'epoch' if (planned or done) == 1 else 'epochs'}"
    tested = f"test {shown_together(found.tested)}, " if found.tested else "not tested yet, "
    verdicts = [Verdict("neutral", f"{tested}after {epochs}")]
    if found.silent_layers:
        names = ", ".join(found.silent_layers)
        verdicts.insert(0, Verdict("bad", f"SILENT: {names} never fired on the test samples"))
    for name, result in (("simulate", found.simulated), ("verify", found.verified)):
        if result is not None and not _is_of(result, network):
            text = f"{name}.json is of another network than {BEST_NAME}"
            verdicts.append(Verdict("bad", text))
    if found.verified is not None and _is_of(found.verified, network):
        tone, word = ("good", "MATCH") if found.verified["match"] else ("bad", "MISMATCH")
        backends = ", ".join(map(str, found.verified["backends"]))
        verdicts.insert(
            0,
            Verdict(
                "good" if tone == "good" else "bad",
                f"{word} on {backends} ({counted(found.verified['samples'], 'sample')}, "
                f"verify.json)",
            ),
        )
    return verdicts


def _agreement(
    found: RunFolder, ran: _Ran, network: QuantizedNetwork, *, is_whole: bool
) -> list[Verdict]:
    """Say whether the reference is as good as the training said, which it is bit for bit."""
    trained, now = found.tested.get("accuracy"), ran.metrics.get("accuracy")
    verdicts = []
    if is_whole and trained is not None and now is not None:
        # A mean on a GPU may be rounded otherwise; how many samples were right is a whole number.
        if abs(trained - now) * len(ran.run) < 0.5:
            text = f"The integer network is as good on the reference as in training: {now:.2%}."
            verdicts.append(Verdict("good", text))
        else:
            text = (
                f"The integer network has an accuracy of {now:.2%} on the reference, and the "
                f"training said {trained:.2%}: the data are others, or a file is not the one that "
                f"it was"
            )
            verdicts.append(Verdict("bad", text))
    return verdicts


def _is_of(result: Mapping[str, Any], network: QuantizedNetwork | None) -> bool:
    """Whether a result is of this network, or may be: older ones of ``verify`` do not say it."""
    return network is None or result.get("network_digest", network.digest) == network.digest


def _results(found: RunFolder) -> list[Section]:
    """Return what other commands have left in the folder."""
    sections = []
    for name, result in (("simulate", found.simulated), ("verify", found.verified)):
        if result is None:
            continue
        where = result.get("backend") or ", ".join(map(str, result.get("backends", [])))
        text = (
            f"As {name}.json in the folder says: {counted(result['samples'], 'sample')} on {where}."
        )
        difference = result.get("first_difference")
        sections.append(
            Section(
                f"file-{name}",
                f"{name}.json",
                [text],
                [f"First difference: {difference}"] if isinstance(difference, str) else [],
                [layers_table(f"Layers in {name}.json", result["layers"])],
            )
        )
    return sections


def _learning_rates(options: Mapping[str, Any]) -> list[float]:
    """Return the rate over the training that was planned; none where options are not known."""
    known = {one.name for one in fields(TrainingOptions)}
    names = ("epochs", "learning_rate", "learning_rate_schedule", "warm_up")
    try:
        planned = TrainingOptions(
            **{name: options[name] for name in names if name in options and name in known}
        )
    except (TandemError, TypeError):
        return []
    rates = planned_rates(planned, max(1, _RATE_POINTS // planned.epochs))
    return rates[:: max(1, len(rates) // _RATE_POINTS)]


def _options(wanted: WantedReport, found: RunFolder) -> list[tuple[str, str]]:
    of_training = [(name.replace("_", " "), str(value)) for name, value in found.options.items()]
    return [*wanted.options, *of_training]
