"""The table of targets in the README is what the registry says."""

from __future__ import annotations

import pytest

from tandem_hw.conformance.case_networks import Case
from tandem_hw.conformance.cases import cases
from tandem_hw.conformance.targets import EXACT, KINDS, UNTESTED, targets, targets_table
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim import registry
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.project import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_table_of_the_registry() -> None:
    pytest.importorskip("nir")
    table = README.partition("\n## Targets\n\n")[2].partition("\n\n")[0] + "\n"
    assert table == targets_table(), "put the second table into README.md, section Targets"


def test_a_backend_that_refuses_something_stands_so_in_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("nir")

    class Picky(ReferenceBackend):
        name = "picky"
        needs_board = True

        def check_network(self, network: QuantizedNetwork) -> None:
            if network.reset == "zero":
                raise NetworkError("no such reset here")

    monkeypatch.setitem(registry.BACKENDS, Picky.name, Picky)
    found = {one.name: one for one in targets()}
    assert found["`reference`"] == ("`reference`", EXACT, ())
    of_zero = [kind for kind, names in KINDS.items() if all("zero" in name for name in names)]
    assert len(of_zero) > 2
    assert found["`picky`"] == ("`picky`", UNTESTED, tuple(of_zero))


def test_a_kind_is_what_its_cases_have() -> None:
    networks: dict[str, Case] = {case.name: case for case in cases()}
    chosen = {kind: [networks[name] for name in names] for kind, names in KINDS.items()}
    assert all(case.network.firing_delay for case in chosen["a firing delay"])
    assert all(case.overflows for case in chosen["reset to zero beyond 24 bits"])
    for case in chosen["a voltage that leaks"]:
        assert case.network.layers[0].neurons.voltage_decay
        assert all(bounds.proven for bounds in case.network.bounds)
    for case in chosen["a current that is kept"]:
        assert case.network.layers[0].neurons.current_decay < 4096
    for case in chosen["skip paths"]:
        assert any(len(layer.inputs) > 1 for layer in case.network)
