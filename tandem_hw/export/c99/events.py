"""How the neurons that fired are listed in C: templates for ``text.filled``, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

#: Functions that list events, by the end of their names.
FUNCTIONS: Final[Mapping[str, str]] = {
    "four": """
        #if ${PREFIX}_TOGETHER == 4
        /* Four bytes as a number, the first one lowest. */
        static uint32_t ${prefix}_four(const uint8_t *bytes)
        {
        #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            uint32_t four;
            memcpy(&four, bytes, 4);
            return four;
        #else
            return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16
                | (uint32_t)bytes[3] << 24;
        #endif
        }
        #endif
        """,
    "find": """
        /* Lists the neurons that fired: of several bytes of 0 or 1 at a time, whose bits a product
           packs and another one counts. */
        static uint32_t ${prefix}_find(const uint8_t *spikes, uint32_t neurons)
        {
            uint32_t found = 0, at = 0;
            for (; at + ${PREFIX}_TOGETHER <= neurons; at += ${PREFIX}_TOGETHER) {
                ${prefix}_event *events = ${prefix}_events + found;
        #if ${PREFIX}_TOGETHER == 8
                uint64_t eight;
                memcpy(&eight, spikes + at, 8);
                const ${prefix}_event *ones =
                    ${prefix}_ones[eight * UINT64_C(0x0102040810204080) >> 56];
                for (uint32_t one = 0; one < 8; ++one)
                    events[one] = (${prefix}_event)(at + ones[one]);
                found += (uint32_t)(eight * UINT64_C(0x0101010101010101) >> 56);
        #else
                const uint32_t four = ${prefix}_four(spikes + at);
                const ${prefix}_event *ones = ${prefix}_ones[four * 0x10204080u >> 28];
                $list
                found += four * 0x01010101u >> 24;
        #endif
            }
            for (; at < neurons; ++at) {
                ${prefix}_events[found] = (${prefix}_event)at;
                found += spikes[at];
            }
            return found;
        }
        """,
    "find_input": """
        /* Lists the inputs that are not 0. */
        static uint32_t ${prefix}_find_input(const uint8_t *frame)
        {
            uint32_t found = 0;
            for (uint32_t at = 0; at < ${PREFIX}_INPUTS; ++at) {
                ${prefix}_events[found] = (${prefix}_event)at;
                found += frame[at] != 0;
            }
            return found;
        }
        """,
}

#: How many bytes of spikes are looked at together: a wide processor has room for a larger table.
TOGETHER: Final = """
#ifndef ${PREFIX}_TOGETHER
#if UINTPTR_MAX > UINT32_MAX && defined(__BYTE_ORDER__) \\
    && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ${PREFIX}_TOGETHER 8
#else
#define ${PREFIX}_TOGETHER 4
#endif
#endif
"""

#: How four neurons are listed, by the type of a neuron's number: four of 16 bits in one addition.
LIST: Final[Mapping[str, str]] = {
    "uint16_t": """
        uint64_t four_events;
        memcpy(&four_events, ones, 8);
        four_events += at * UINT64_C(0x0001000100010001);
        memcpy(events, &four_events, 8);
        """,
    "uint32_t": """
        for (uint32_t one = 0; one < 4; ++one)
            events[one] = at + ones[one];
        """,
}


def ones_of(together: int) -> npt.NDArray[np.int64]:
    """Return for every number of so many bits which of them are set, filled up with zeros."""
    rows = np.zeros((1 << together, together), np.int64)
    for bits, row in enumerate(rows):
        found = [bit for bit in range(together) if bits >> bit & 1]
        row[: len(found)] = found
    return rows
