"""The parts of a C source that are alike in all of them, as templates for ``text.filled``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    INT32_SPAN,
    STATE_FRACTION_BITS,
    STATE_LIMIT,
    VOLTAGE_LIMIT,
)

_FRACTION: Final = 1 << STATE_FRACTION_BITS
#: What templates call the limits of the number formats.
LIMITS: Final[Mapping[str, int]] = {
    "limit": STATE_LIMIT,
    "span": 2 * STATE_LIMIT,
    "fine_limit": STATE_LIMIT * _FRACTION,
    "fine_span": 2 * STATE_LIMIT * _FRACTION,
    "half_word": INT32_SPAN // 2,
    "word": INT32_SPAN,
    "voltage_limit": VOLTAGE_LIMIT,
    "unity": DECAY_UNITY,
}

HEADER: Final = """
/* $prefix.h - what $prefix.c offers; written by tandem-hw $version */
#ifndef ${PREFIX}_H
#define ${PREFIX}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${PREFIX}_DIGEST "$digest"
/* steps of a window */
#define ${PREFIX}_STEPS ${steps}u
/* integers that come in in a step, of a sample $shape, and in all; the channels come first */
#define ${PREFIX}_INPUTS ${inputs}u
#define ${PREFIX}_SAMPLE ${sample}u
#define ${PREFIX}_INPUT_LARGEST ${largest}u
#define ${PREFIX}_OUTPUTS ${outputs}u

/* Runs a sample of ${PREFIX}_SAMPLE integers and writes ${PREFIX}_OUTPUTS results.
   Returns 0, or -1 where an integer is above ${PREFIX}_INPUT_LARGEST. */
int ${prefix}_run(const uint8_t *sample, int32_t *result);

/* Begins a window: forgets all that has come in. */
void ${prefix}_begin(void);

/* Takes what comes in in the next step of the window, ${PREFIX}_INPUTS integers$what.
   Returns 1 where the window has ended and ${prefix}_result() is there; the next call begins
   another one. Returns 0 before, and -1 where an integer is above ${PREFIX}_INPUT_LARGEST: then
   nothing has been taken. */
int ${prefix}_step(const uint8_t *frame);

/* The results of the window that has ended last, ${PREFIX}_OUTPUTS of them. */
const int32_t *${prefix}_result(void);

/* The index of the largest of them, the lowest among equals. */
uint32_t ${prefix}_prediction(void);

#ifdef __cplusplus
}
#endif

#endif
"""

#: Functions that some networks need, by the end of their names.
ARITHMETIC: Final[Mapping[str, str]] = {
    "wrapped": """
        /* A current that leaves 24 bits wraps: in 32 bits, and then once in 24. */
        static int32_t ${prefix}_wrapped(int32_t current)
        {
            if (current >= $half_word)
                current -= $word;
            else if (current < -$half_word)
                current += $word;
            if (current > $limit)
                return current - $span;
            return current <= -$limit ? current + $span : current;
        }
        """,
    "wrapped_fine": """
        /* The same in units of 1/64. */
        static int32_t ${prefix}_wrapped_fine(int64_t current)
        {
            if (current > INT32_MAX)
                current -= (int64_t)1 << 32;
            else if (current < INT32_MIN)
                current += (int64_t)1 << 32;
            if (current > $fine_limit)
                current -= $fine_span;
            else if (current <= -$fine_limit)
                current += $fine_span;
            return (int32_t)current;
        }
        """,
    "clipped": """
        /* What a readout gives of a voltage that is clipped to 24 bits. */
        static int32_t ${prefix}_clipped(int32_t voltage)
        {
            if (voltage >= $limit)
                return $limit - 1;
            return voltage < -$limit ? -$limit : voltage;
        }
        """,
    "clipped_fine": """
        /* A voltage in units of 1/64 wraps in 32 bits and is clipped to 24. */
        static int32_t ${prefix}_clipped_fine(int64_t voltage)
        {
            if (voltage > INT32_MAX)
                voltage -= (int64_t)1 << 32;
            else if (voltage < INT32_MIN)
                voltage += (int64_t)1 << 32;
            if (voltage > $voltage_limit)
                return $voltage_limit;
            return voltage < -$voltage_limit ? -$voltage_limit : (int32_t)voltage;
        }
        """,
    "kept": """
        /* What a leak leaves of a state, rounded toward zero. */
        static int32_t ${prefix}_kept(int32_t state, int32_t kept)
        {
            return (int32_t)((int64_t)state * kept / $unity);
        }
        """,
}

#: What the backend records beside the result, before the layers.
RECORD_STATE: Final = """
#ifdef ${PREFIX}_RECORD
/* per layer: the largest magnitude of a state, and how many left 24 bits in this window */
static int32_t ${prefix}_peak[$layers];
static int64_t ${prefix}_left[$layers];
#define ${PREFIX}_SEE(state) \\
    do { \\
        const int32_t seen = (state); \\
        peak = seen > peak ? seen : peak; \\
        peak = -seen > peak ? -seen : peak; \\
    } while (0)
#endif
"""

#: The same behind the layers: what a program that includes the source reads.
RECORD: Final = """
#ifdef ${PREFIX}_RECORD
typedef struct {
    uint32_t channels, positions;
    const ${prefix}_count *counts;
    const int32_t *final;
    int32_t threshold;
} ${prefix}_layer;
static const ${prefix}_layer ${prefix}_layers[$layers] = {
$rows
};
typedef struct {
    const void *values;
    uint32_t size;
} ${prefix}_table;
static const ${prefix}_table ${prefix}_tables[$number] = {
$tables
};
#endif
"""

INTERFACE: Final = """
void ${prefix}_begin(void)
{
    ${prefix}_at = 0;
    $begins
}

static void ${prefix}_finish(void)
{
    $result
}

static void ${prefix}_advance(const uint8_t *frame)
{
    $turn
    $calls
    ++${prefix}_at;
}

int ${prefix}_step(const uint8_t *frame)
{
    $first
    $check
    if (${prefix}_at == 0)
        ${prefix}_begin();
    ${prefix}_advance(frame);
    if (${prefix}_at < ${PREFIX}_STEPS)
        return 0;
    $rest
    ${prefix}_finish();
    ${prefix}_at = 0;
    return 1;
}

int ${prefix}_run(const uint8_t *sample, int32_t *result)
{
    $check_sample
    ${prefix}_at = 0;
    for (uint32_t step = 0; step < ${PREFIX}_STEPS; ++step)
        if (${prefix}_step($next_frame) < 0)
            return -1;
    memcpy(result, ${prefix}_results, sizeof ${prefix}_results);
    return 0;
}

const int32_t *${prefix}_result(void)
{
    return ${prefix}_results;
}

uint32_t ${prefix}_prediction(void)
{
    uint32_t best = 0;
    for (uint32_t at = 1; at < ${PREFIX}_OUTPUTS; ++at)
        if (${prefix}_results[at] > ${prefix}_results[best])
            best = at;
    return best;
}
"""
