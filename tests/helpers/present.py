"""What may be absent by its type, where a test knows that it is there."""

from __future__ import annotations

from typing import TypeVar

from tandem_hw.arithmetic.neurons import Train

T = TypeVar("T")


def present(value: T | None) -> T:
    assert value is not None
    return value


def present_train(train: Train | None) -> Train:
    assert train is not None
    return train
