"""Text that comes from a file, or from another program, made fit for a terminal and a line."""

from __future__ import annotations

from typing import Final

#: Characters that a line shows of one message: a screen of text.
LONGEST: Final = 1500


def plain(text: str, longest: int | None = LONGEST) -> str:
    r"""Return a text whose every character is one that can be seen, or a space.

    What steers a terminal (escapes, line ends, marks that change the direction of writing) and what
    no encoding holds (bytes of a file's name that are no text) is written as Python writes it in
    quotes: ``\x1b``, ``\n``, ``\u202e``.

    Args:
        text: any text.
        longest: characters that are left; what a longer text has in its middle is left out. None
            for any number.
    """
    if longest is not None and len(text) > longest:
        half = longest // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]} … ({left_out} characters left out) … {text[-half:]}"
    if text.isprintable():  # the usual case
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
