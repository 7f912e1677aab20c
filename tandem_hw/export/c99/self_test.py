"""Samples and the results that they must have, for a ``main`` that an engineer runs on a chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import DataError
from tandem_hw.export.c99.text import Arrays, filled
from tandem_hw.network.quantized import QuantizedNetwork, check_inputs


@dataclass(frozen=True, eq=False)
class SelfTest:
    """What a source tests itself with.

    Attributes:
        inputs: uint8 [samples, *network.sample_shape].
        output: int32 [samples, outputs], what a backend has given for them (``Recording.output``).
    """

    inputs: npt.NDArray[np.uint8]
    output: npt.NDArray[np.integer[Any]]

    def check(self, network: QuantizedNetwork) -> None:
        """Refuse samples that are not the network's, and results that are not theirs.

        Raises:
            DataError: says what does not fit.
        """
        check_inputs(network, self.inputs)
        wanted = (len(self.inputs), network.outputs)
        if self.output.shape != wanted or self.output.dtype.kind not in "iu":
            raise DataError(
                f"the results of a self-test are {self.output.dtype} of shape {self.output.shape}; "
                f"give the whole numbers of the {wanted[0]} samples, shape {wanted}"
            )


def self_test_code(test: SelfTest, prefix: str) -> str:
    """Return arrays and a ``main`` that returns 0 where all results are right, 1 elsewhere."""
    arrays = Arrays()
    samples = len(test.inputs)
    return filled(
        """
        #ifdef ${PREFIX}_SELF_TEST
        $inputs
        $outputs

        int main(void)
        {
            int32_t result[${PREFIX}_OUTPUTS];
            for (uint32_t sample = 0; sample < $samples; ++sample) {
                if (${prefix}_run(${prefix}_test_inputs[sample], result) != 0)
                    return 1;
                if (memcmp(result, ${prefix}_test_results[sample], sizeof result) != 0)
                    return 1;
            }
            return 0;
        }
        #endif
        """,
        prefix=prefix,
        PREFIX=prefix.upper(),
        samples=samples,
        inputs=arrays.constant(
            f"{prefix}_test_inputs", test.inputs.reshape(samples, -1), "uint8_t"
        ),
        outputs=arrays.constant(f"{prefix}_test_results", test.output, "int32_t"),
    )
