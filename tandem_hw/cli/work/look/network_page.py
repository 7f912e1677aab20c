"""The report of a network that nothing has run; without PyTorch."""

from __future__ import annotations

from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.work.look.sections import (
    bounds_section,
    chip_section,
    network_section,
    provenance_section,
)
from tandem_hw.counted import counted
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.page.content import Figure, Page, Verdict
from tandem_hw.report.page.page import write_page


def write_network_report(wanted: WantedReport, network: QuantizedNetwork, with_chip: bool) -> None:
    """Write the report of ``inspect``.

    Args:
        wanted: where, and with what.
        network: what is looked at.
        with_chip: whether it is said what it would take of a chip.
    """
    proven = [bounds.proven for bounds in network.bounds]
    verdict = (
        Verdict("good", "Every state is proven to stay within 24 bits, whatever the samples.")
        if all(proven)
        else Verdict(
            "neutral",
            f"{proven.count(False)} of {counted(len(proven), 'layer')} are not proven to stay "
            f"within 24 bits.",
        )
    )
    neurons = sum(layer.num_neurons for layer in network)
    weights = sum(one.weight.size for layer in network for one in layer.synapses)
    page = Page(
        wanted.name,
        wanted.command,
        [verdict],
        [
            Figure(str(len(network.layers)), "layers"),
            Figure(f"{neurons:,}".replace(",", " "), "neurons"),
            Figure(f"{weights:,}".replace(",", " "), "weights"),
            Figure(str(network.num_steps), "steps of a window"),
        ],
        [
            network_section(network),
            bounds_section(network),
            *([chip_section(network)] if with_chip else []),
            provenance_section(wanted.options, {"network": network.digest}),
        ],
    )
    write_page(page, wanted.path)
