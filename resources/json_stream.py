"""Large JSON documents, one entry at a time, in bounded memory.

Belongs here: the members of a document, and the entries of those that are lists. Does not belong
here: what they mean. By hand around the json module's own scanner, which reads 500 MB a
second: ijson gives no bound on the size of one entry, and builds it in Python.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from resources.errors import PlainError

MAX_ENTRY = 2**24
"""Characters of one entry; nested lists of that length take 400 MB."""
MAX_ENTRIES = 10_000_000
_CHUNK = 2**20
_CUT = 2
"""Characters of a number that say nothing without those behind them."""
_BLANK = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class JsonError(PlainError, ValueError):
    """The file is no JSON document that can be read; the message begins in lower case."""


def fields_of(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The fields of a JSON object, in its order; a list is an iterator of its entries.

    Entries that are not taken from such an iterator are passed over when the next member is asked
    for.

    Raises:
        JsonError: While iterating: it is no object, is not UTF-8, or something in it is too large,
            nested too deeply, or no JSON.
    """
    text = _Text(file)
    text.take("{")
    if text.next() == "}":
        text.take("}")
    else:
        while True:
            if text.next() != '"':
                raise text.fault()
            name = text.value()
            text.take(":")
            if text.next() == "[":
                entries = _entries(text)
                yield name, entries
                for _ in entries:
                    pass
            else:
                yield name, text.value()
            if text.next() == "}":
                text.take("}")
                break
            text.take(",")
    if text.next():
        raise text.fault()


def _entries(text: "_Text") -> Iterator[Any]:
    text.take("[")
    if text.next() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.next() == "]":
            text.take("]")
            return
        text.take(",")


class _Text:
    """What was read of a file and not yet taken."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._before = 0
        self._ended = False
        self._nb_values = 0
        self._scan = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            found = _BLANK.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read(_CHUNK)

    def take(self, character: str) -> None:
        """Pass over a character that must be there."""
        if self.next() != character:
            raise self.fault()
        self._at += 1

    def value(self) -> Any:
        """The next value."""
        self.next()
        self._nb_values += 1
        if self._nb_values > MAX_ENTRIES:
            raise JsonError(
                "it has more than {most:,} entries: divide it into several.",
                id="json-too-many-entries",
                most=MAX_ENTRIES,
            )
        while True:
            try:
                found, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self.fault() from error
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits
                raise self.fault() from error
            else:
                # A number at the end of what was read may go on, as 1 before `e+5`.
                if len(self._text) - end > _CUT or self._ended:
                    break
            if len(self._text) - self._at > MAX_ENTRY:
                raise JsonError(
                    "the entry at character {place:,} does not end within {most:,} characters: it "
                    "is damaged, or holds what does not belong there.",
                    id="json-entry-too-long",
                    place=self._before + self._at,
                    most=MAX_ENTRY,
                )
            # As much again: a long entry is scanned few times.
            self._read(max(_CHUNK, len(self._text) - self._at))
        if _HALF.search(self._text, self._at, end):
            self._check_halves(found)
        self._at = end
        return found

    def fault(self) -> JsonError:
        """That what comes next is no JSON."""
        return JsonError(
            "what stands at character {place:,} is no JSON: the file may be cut off; export it "
            "anew.",
            id="json-unreadable",
            place=self._before + self._at,
        )

    def _check_halves(self, value: Any) -> None:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except ValueError as error:  # UnicodeEncodeError is one
            raise self.fault() from error

    def _read(self, most: int) -> None:
        self._before += self._at
        data = self._file.read(most)
        self._ended = not data
        try:
            more = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise JsonError(
                "it is not UTF-8: export it anew, or convert it.", id="json-not-utf8"
            ) from error
        self._text = self._text[self._at :] + more
        self._at = 0
