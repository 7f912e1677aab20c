"""What each field of a network's description may be, in a file as in a program.

Whatever a network is made with can be kept and read again, so both ask the same table. Input and
options check themselves (``InputSpec``, ``SpikingOptions``) and take what becomes the right number;
a file has to hold the number itself.
"""

from __future__ import annotations

from typing import Final, get_args

from tandem_hw.learning.saved.field_rules import (
    TRUTH,
    Rules,
    of_type,
    one_of,
    optional,
    or_none,
    real,
    whole,
    whole_numbers,
)
from tandem_hw.learning.spiking_options import Twin
from tandem_hw.network.choices import ENCODINGS, Readout, Reset
from tandem_hw.network.fixed_point import (
    DECAY_RANGE,
    INPUT_BITS_RANGE,
    NUM_STEPS_RANGE,
    WEIGHT_BITS_RANGE,
)
from tandem_hw.network.synapses.geometry import LENGTH_MAX
from tandem_hw.ranges import NOT_NEGATIVE, POSITIVE, SHARE, RealRange

_FROM_ZERO: Final = range(LENGTH_MAX + 1)
_FROM_ONE: Final = range(1, LENGTH_MAX + 1)
#: Axes of what comes in, and more than any kernel has; a kind says how many it takes.
_AXES: Final = range(1, 4)
_MOMENTUM: Final = RealRange("a share from 0 to 1", 0, 1)

ARCHITECTURE: Final[Rules] = {
    "input": of_type(dict, "names with values"),
    "options": of_type(dict, "names with values"),
    "layers": of_type((list, tuple), "descriptions of layers"),
    "readout": one_of(*get_args(Readout)),
}
INPUT: Final[Rules] = {
    "shape": whole_numbers(_FROM_ONE, _AXES),
    "bits": whole(INPUT_BITS_RANGE),
    "scale": real(POSITIVE),
    "encoding": optional(one_of(*ENCODINGS)),
}
OPTIONS: Final[Rules] = {
    "num_steps": whole(NUM_STEPS_RANGE),
    "reset": one_of(*get_args(Reset)),
    "weight_bits": optional(whole(WEIGHT_BITS_RANGE)),
    "twin": optional(one_of(*get_args(Twin))),
    "activation_max": optional(real(POSITIVE)),
    "current_decay": optional(whole(DECAY_RANGE)),
    "voltage_decay": optional(whole(DECAY_RANGE)),
    "initial_potential": optional(real(SHARE)),
    "learn_thresholds": optional(TRUTH),
    "firing_delay": optional(whole(range(NUM_STEPS_RANGE[-1]))),
}
#: What ``kind_of`` (the words for kinds) and ``Architecture`` (layers before) judge themselves.
_JUDGED_THERE: Final = of_type(object, "anything")
LAYER: Final[Rules] = {
    "kind": _JUDGED_THERE,
    "out": optional(whole(_FROM_ZERO)),
    "kernel": optional(whole_numbers(_FROM_ONE, _AXES)),
    "stride": optional(whole_numbers(_FROM_ONE, _AXES)),
    "padding": optional(whole_numbers(_FROM_ZERO, _AXES)),
    "dilation": optional(whole_numbers(_FROM_ONE, _AXES)),
    "groups": optional(whole(_FROM_ONE)),
    "bias": optional(TRUTH),
    "norm": optional(TRUTH),
    "norm_eps": optional(real(NOT_NEGATIVE)),
    "norm_momentum": optional(real(_MOMENTUM)),
    "norm_affine": optional(TRUTH),
    "p": optional(real(SHARE)),
    "channels": optional(TRUTH),
    "output_padding": optional(whole_numbers(_FROM_ZERO, _AXES)),
    "pool": optional(whole_numbers(_FROM_ONE, _AXES)),
    "pooled_to": optional(whole_numbers(_FROM_ZERO, range(_AXES.stop))),
    "ceil_mode": optional(TRUTH),
    "ceiling": optional(or_none(real(POSITIVE))),
    "source": optional(_JUDGED_THERE),
    "joined": optional(of_type(tuple, "several layers before")),
    "skips": optional(of_type(tuple, "several synapses")),
    "weight_bits": optional(or_none(whole(WEIGHT_BITS_RANGE))),
    "channel_thresholds": optional(TRUTH),
}
