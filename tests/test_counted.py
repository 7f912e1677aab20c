"""One of something is said in the singular."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tandem_hw.counted import counted
from tandem_hw.export.net_file import write_net
from tests.helpers.command_line import succeed
from tests.helpers.networks import random_inputs, small_network


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("sample",), "0 samples"),
        (1, ("sample",), "1 sample"),
        (2, ("sample",), "2 samples"),
        (1, ("class", "classes"), "1 class"),
        (10, ("class", "classes"), "10 classes"),
        (1, ("sample is", "samples are"), "1 sample is"),
        (3, ("sample is", "samples are"), "3 samples are"),
    ],
)
def test_numbers_agree_with_what_they_count(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text


def test_commands_say_one_sample(tmp_path: Path) -> None:
    network = small_network()
    write_net(network, tmp_path / "a.net")
    np.savez(
        tmp_path / "a.npz",
        x_test=(random_inputs(network, 4) / network.input.largest).astype(np.float32),
        y_test=np.arange(4) % 3,
    )
    given = (tmp_path / "a.net", "--data", f"npz:{tmp_path / 'a.npz'}")
    for number, words in ((1, "1 sample on "), (2, "2 samples on ")):
        simulated = succeed("simulate", *given, "--samples", number).stdout
        assert f"{words}reference" in simulated
    listed = succeed("conformance", "--backend", "reference", "-k", "subtract-T1", "--list").stdout
    (name,) = listed.split()
    assert (
        "1 case on reference" in succeed("conformance", "--backend", "reference", "-k", name).stdout
    )
