"""The warnings that tandem-hw gives where something is allowed and seldom meant.

Every message names the object, what was found and what to do. Python's ``warnings`` carries them;
the command line prints each as one line on standard error.
"""


class TandemWarning(UserWarning):
    """Base of all warnings of tandem-hw."""


class ConversionWarning(TandemWarning):
    """A conversion leaves something out that changes what the network returns."""
