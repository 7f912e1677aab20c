"""The exceptions that tandem-hw raises for mistakes a user can mend.

Every message names the object, what was found, what is allowed and what to do next. The command
line prints the message alone and leaves with exit status 2. Anything else that escapes is a defect
of tandem-hw itself.
"""


def how_to_install(extra: str) -> str:
    """Return what to do about an optional package that is missing, for the end of a message.

    tandem-hw is on no package index yet, so it says what to do with its sources.

    Args:
        extra: a key of ``project.optional-dependencies`` in ``pyproject.toml``.
    """
    return f"in the folder of tandem-hw's sources, pip install '.[{extra}]'"


class TandemError(Exception):
    """Base of all errors that a user of tandem-hw can act on.

    The command line shows the message in one line, whatever texts of a file are in it, and below it
    a line each of what comes with it.
    """

    def __init__(self, message: str = "", *further: str) -> None:
        """Make an error.

        Args:
            message: what is wrong.
            further: lines that come with it, such as the last output of another program.
        """
        super().__init__(message, *further)

    def __str__(self) -> str:
        """Return all lines."""
        return "\n".join(map(str, self.args))


class ConversionError(TandemError):
    """A PyTorch network cannot be converted to tandem layers exactly."""


class NetworkError(TandemError):
    """A quantized network breaks a rule of its arithmetic or a limit of the chip."""


class FileFormatError(TandemError):
    """A file is missing, truncated, altered, foreign or of another format version."""


class DataError(TandemError):
    """A data set is unknown, unreadable or does not fit the network."""


class BackendUnavailableError(TandemError):
    """A backend cannot run here; the message says what is missing."""


class BackendError(TandemError):
    """A backend started and did not finish."""


class ComparisonRefusedError(TandemError):
    """Two recordings could not have the same answer on purpose, so they are not compared."""


class InexactError(TandemError):
    """What has to be a whole number came out of floating-point arithmetic as none."""
