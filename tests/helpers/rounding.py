"""How far floats may be from what exact arithmetic gives, for the tests that compare them.

Where a test can, it computes in float64 and asks for agreement to many digits more than float32
has. Where what is tested is float32 by itself, the bound below says how far it may be off, on
every machine: processors add in different orders, and some round a product and a sum together.

Each operation on floats is the exact one times (1 + d) with |d| <= u = eps / 2. Written out as a
sum of products of its inputs, an expression is therefore the exact sum with every term multiplied
by as many such factors as operations lie between the term and the result. With no more than n of
them on any way, and because (1 + d1)^±1 ... (1 + dn)^±1 = 1 + t with |t| <= g(n) = n u / (1 - n u)
(N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1),

    |computed - exact| <= g(n) * (the same expression of the inputs' magnitudes, all terms added)

whatever the order of the additions. A scalar product of k terms has n = k: a product, and k - 1
additions if they are done one after the other.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.learning.kinds.convolutions import TandemAvgPool
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.signals import TandemSignal
from tests.helpers.present import present

Magnitude = TypeVar("Magnitude", float, Tensor)


def rounding_bound(
    operations: int, magnitude: Magnitude, dtype: torch.dtype = torch.float32
) -> Magnitude:
    """Return g(n) * magnitude, see the module.

    Args:
        operations: n, the most operations between an input and the result.
        magnitude: the expression with the magnitudes of its inputs, added up.
        dtype: what was computed in.
    """
    rounded = operations * torch.finfo(dtype).eps / 2
    assert rounded < 0.5
    return magnitude * (rounded / (1 - rounded))


def in_double(model: TandemNetwork) -> TandemNetwork:
    """Turn a network into one whose ordinary twin computes in float64, and return it."""
    encode = model.double().encode
    for layer in model.tandem_layers:
        if isinstance(layer, TandemAvgPool):  # whose kernel was rounded when it was made
            kernel = present(layer.weight)
            kernel.data.fill_(1 / math.prod(kernel.shape[2:]))

    def encode_in_double(inputs: Tensor, checks: DeferredChecks | None = None) -> TandemSignal:
        signal = encode(inputs, checks)
        return replace(signal, counts=signal.counts.double())

    model.encode = encode_in_double  # type: ignore[method-assign]
    return model
