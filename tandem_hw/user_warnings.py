"""The warnings that tandem-hw gives where something is allowed and seldom meant.

Every message names the object, what was found and what to do. Python's ``warnings`` carries them;
the command line prints each as one line on standard error.
"""


class TandemWarning(UserWarning):
    """Base of all warnings of tandem-hw."""


class ConversionWarning(TandemWarning):
    """A conversion leaves something out that changes what the network returns."""


class UncalibratedWarning(TandemWarning):
    """A network is frozen that no sample has passed: potentials may leave the chip's registers."""


class InputWarning(TandemWarning):
    """Inputs are in another range than is meant: nearly nothing of them reaches the network."""


class SilentLayerWarning(TandemWarning):
    """A layer does nothing on the samples that a network is measured with."""
