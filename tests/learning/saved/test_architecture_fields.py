"""The table of an architecture's fields says something of each, and of no other."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import Architecture, LayerSpec
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.saved.architecture_fields import ARCHITECTURE, INPUT, LAYER, OPTIONS
from tandem_hw.learning.saved.field_rules import Rules
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.quantized import InputSpec

TABLES: list[tuple[Any, Rules]] = [
    (InputSpec, INPUT),
    (SpikingOptions, OPTIONS),
    (LayerSpec, LAYER),
]
PLAIN = Architecture(
    InputSpec((4,), 4, 1 / 15), SpikingOptions(3, "subtract"), (LayerSpec("linear", 2),)
)


@pytest.mark.parametrize(("kind", "rules"), TABLES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_table_has_every_field_and_needs_those_without_a_default(kind: Any, rules: Rules) -> None:
    assert list(rules) == [entry.name for entry in fields(kind)]
    for entry in fields(kind):
        assert rules[entry.name].is_needed == (entry.default is MISSING)
        if entry.default is not MISSING:
            assert rules[entry.name].fits(entry.default)


def test_an_architecture_in_a_file_has_its_parts_and_no_others() -> None:
    assert list(ARCHITECTURE) == list(PLAIN.to_dict())
    for name in ARCHITECTURE:
        content = PLAIN.to_dict()
        del content[name]
        with pytest.raises(ConversionError, match=f"the {name} of the network is missing"):
            Architecture.from_dict(content)
    with pytest.raises(ConversionError, match="the 'sparsity' of the network is not known"):
        Architecture.from_dict(PLAIN.to_dict() | {"sparsity": 1})


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("input", "scale", "0.5"),
        ("input", "bits", True),
        ("options", "num_steps", True),
        ("options", "activation_max", "2.0"),
        ("options", "initial_potential", False),
    ],
)
def test_a_file_has_the_number_itself(part: str, name: str, value: Any) -> None:
    content = PLAIN.to_dict()
    content[part][name] = value
    with pytest.raises(ConversionError, match=f"the {name} is {value!r}; allowed are"):
        Architecture.from_dict(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skips": ("sum",)}, "skip 1 of layer 0 is 'sum', no LayerSpec"),
        (
            {"skips": (LayerSpec("sum", norm_eps=-1.0),)},
            "the norm_eps of skip 1 of layer 0 is -1.0; allowed are zero or a positive",
        ),
        ({"joined": {0: 1}}, "the joined of layer 0 is a dict of 1; allowed are several layers"),
        ({"source": True}, "layer 0 takes its spikes from layer True; allowed are"),
        ({"norm_momentum": 1.5}, "the norm_momentum of layer 0 is 1.5; allowed are a share from 0"),
    ],
)
def test_what_no_file_may_hold_no_program_makes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        replace(PLAIN, layers=(replace(PLAIN.layers[0], **change),))


def test_numbers_of_numpy_become_pythons_so_that_the_file_can_be_read(tmp_path: Any) -> None:
    four: Any = np.int64(4)
    little: Any = np.float64(1e-3)
    network = nn.Sequential(
        nn.Linear(four, four),
        nn.BatchNorm1d(four, eps=little),
        nn.ReLU(),
        nn.Dropout(little),
        nn.Linear(four, 2),
    )
    model = convert(network, input_shape=(4,), num_steps=3)
    save_checkpoint(Checkpoint(model), tmp_path / "model.pt")
    found = load_checkpoint(tmp_path / "model.pt").model.architecture
    assert found == model.architecture
    first, dropout, _ = found.layers
    assert [type(one) for one in (first.out, first.norm_eps, dropout.p)] == [int, float, float]
