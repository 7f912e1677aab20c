"""Parameters of a file that are not those of a model, each refused for its reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tandem_hw.errors import ConversionError
from tandem_hw.learning.saved.parameters import check_parameters

WANTED = {
    "weight": torch.zeros(2, 3, device="meta"),
    "norm.running_var": torch.zeros(2, device="meta"),
    "norm.num_batches_tracked": torch.zeros((), dtype=torch.int64, device="meta"),
}
FOUND = {
    "weight": torch.randn(2, 3),
    "norm.running_var": torch.ones(2),
    "norm.num_batches_tracked": torch.tensor(7),
}


def test_those_of_a_model_are_taken_in_any_precision() -> None:
    check_parameters(FOUND, WANTED)
    check_parameters({name: value.double() if value.dim() else value for name, value in
                      FOUND.items()}, WANTED)  # fmt: skip
    found = dict(FOUND)
    del found["norm.running_var"]
    check_parameters(found, WANTED, (".running_var",))
    with pytest.raises(ConversionError, match=r"norm\.running_var is missing"):
        check_parameters(found, WANTED)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", torch.zeros(2), "^x is not expected"),
        ("weight", torch.zeros(3, 2), r"^weight is \(3, 2\); \(2, 3\) is needed"),
        ("weight", "none", r"^weight is str; \(2, 3\) is needed"),
        ("weight", torch.zeros(2, 3, dtype=torch.int32), "^weight holds 6 values of type torch.in"),
        ("weight", torch.zeros(2, 3, dtype=torch.complex64), "holds 6 values of type torch.compl"),
        ("weight", torch.zeros(2, 3, dtype=torch.bool), "holds 6 values of type torch.bool"),
        ("weight", torch.full((2, 3), math.inf), "weight holds values that are infinite or not a"),
        ("weight", torch.full((2, 3), math.nan), "weight holds values that are infinite or not a"),
        ("norm.running_var", torch.tensor([1.0, -1.0]), r"norm\.running_var holds values below ze"),
        ("norm.num_batches_tracked", torch.tensor(-1), "num_batches_tracked holds values below z"),
        ("norm.num_batches_tracked", torch.tensor(1.0), "num_batches_tracked holds 1 value of t"),
    ],
)
def test_others_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        check_parameters(FOUND | {name: value}, WANTED)


def test_a_parameter_without_values_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"x holds 0 values of type torch\.float32"):
        check_parameters({"x": torch.zeros(0, 3)}, {"x": torch.zeros(0, 3)})
