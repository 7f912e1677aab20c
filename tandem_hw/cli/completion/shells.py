"""How bash and fish ask what the Tab key completes, where click's own way loses a part of it.

bash takes a colon or an equals sign for the end of a word: of ``example:dig`` it passes three
words, and puts what it gets in the place of the last. click's function for fish cuts a value at its
first comma. Values of ours have both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
)

#: Where bash cuts, of what stands in our command lines.
_BREAKS: Final = (":", "=")
#: Characters that bash would not take as they are.
_UNSAFE: Final = re.compile(r"[^\w@%+=:,./~-]")

_BASH: Final = """\
%(complete_func)s() {
    local told line IFS=$'\\n'
    told=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
        %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            plain,*) COMPREPLY+=("${line#plain,}") ;;
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
        esac
    done <<< "$told"
    # What goes on behind a prefix or a folder gets no space.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:/] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_FISH: Final = """\
function %(complete_func)s
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \\
            COMP_CWORD=(commandline -t) %(prog_name)s)
        set -l told (string split -m 1 "," -- $line)
        switch $told[1]
            case plain
                echo -- $told[2]
            case dir
                __fish_complete_directories $told[2]
            case file
                __fish_complete_path $told[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def joined(words: Sequence[str]) -> tuple[list[str], int]:
    """Join words that bash has cut at a colon or an equals sign, which is a word of its own then.

    Args:
        words: up to the one that the cursor is in.

    Returns:
        The words, and how many characters of the last one's value, which may stand behind an
        option and an equals sign, are words before it to bash.
    """
    whole: list[str] = []
    start = cut = 0
    goes_on = False
    for word in words:
        if word in _BREAKS and whole:
            is_behind_option = word == "=" and whole[-1].startswith("--") and "=" not in whole[-1]
            whole[-1] += word
            start = len(whole[-1]) if is_behind_option else start
            cut, goes_on = len(whole[-1]) - start, True
        elif goes_on:
            whole[-1] += word
            goes_on = False
        else:
            whole.append(word)
            start = cut = 0
    return whole, cut


class BashWithWholeWords(BashComplete):
    """Completion in bash, where words that it has cut are one."""

    source_template: ClassVar[str] = _BASH
    _cut = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the complete words and the last one, which the cursor is in."""
        args, incomplete = super().get_completion_args()
        (*args, incomplete), self._cut = joined([*args, incomplete])
        return args, incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return a line of which bash puts the value in the place of the last word."""
        if item.type != "plain":
            return super().format_completion(item)
        value = _UNSAFE.sub(r"\\\g<0>", item.value[self._cut :])
        return f"{item.type},{value}"


class FishWithWholeValues(FishComplete):
    """Completion in fish, where a value may have commas."""

    source_template: ClassVar[str] = _FISH


def register_shells() -> None:
    """Have click use these for their shells."""
    add_completion_class(BashWithWholeWords, "bash")
    add_completion_class(FishWithWholeValues, "fish")
