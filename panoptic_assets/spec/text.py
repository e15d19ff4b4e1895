"""How values and texts are shown in messages, in one line that is not too long.

Belongs here: small helpers that say the same wherever they are used. Does not belong here: what a
message says.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

_COMPARED = 20_000
"""Known names that a wrong one is compared with; comparing takes 10 microseconds for each."""


def shown(value: Any) -> str:
    """A value as Python writes it; of a long list, the first values."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)


def cut(text: str, most: int) -> str:
    """A text of so many characters at most, of which the last tells that it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_quotes(name: str) -> str:
    """A name as Python writes it, in quotes, cut to 60 characters."""
    return repr(cut(name, 60))


def counted(count: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def beginning(names: Sequence[str], most: int) -> str:
    """The first of some names; ``…`` tells that there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def some(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def nearest(wanted: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like a wrong one, or the first of them if none does."""
    names = sorted(known)
    folded: dict[str, str] = {}
    for name in names[:_COMPARED]:
        folded.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(wanted.casefold(), folded, most)
    return [folded[name] for name in close] or names[:most]


_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a name may hold and a terminal must not get: escape sequences, line separators, what turns
the direction of writing around, and bytes that are not UTF-8."""


def brief(reason: str) -> str:
    """Another library's words on one line, without the place in its own source, cut."""
    line = " ".join(re.sub(r",? \S+\.rs:\d+:\d+", "", reason).split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def printable(text: str) -> str:
    """Text as one line that only says what it is: ``\\x1b`` in place of an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
