"""The blocks of code in a page, and what a comment before one says about it.

``<!-- start: demo -->`` on a page's first line is the project in which its commands run: ``demo``
(a finished demo), ``empty`` (an empty folder), ``none`` (they are only shown). Before a block,
``<!-- skip: reason -->``: it is not run; ``<!-- file: PATH -->``: it is the content of that file.
"""

import re
import shlex
from dataclasses import dataclass

from markdown_it import MarkdownIt

_COMMENT = re.compile(r"<!-- (\w+): (.*?) -->")
_CONTINUED = re.compile(r"\s*\\\n\s*")


@dataclass(frozen=True)
class Block:
    """A block of code."""

    kind: str
    """``sh``, ``console``, ``python``, …"""
    text: str
    line: int
    """In the page, from 1."""
    about: dict[str, str]
    """What the comment before it says: ``skip`` or ``file``."""


def start_of(text):
    """In which project a page's commands run."""
    found = _COMMENT.match(text)
    return found[2] if found and found[1] == "start" else None


def blocks_of(text):
    """All blocks of code of a page, in order."""
    about, found = {}, []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "html_block":
            about = dict(_COMMENT.findall(token.content))
        elif token.type == "fence":
            kind = token.info.strip()
            found.append(Block(kind, token.content, token.map[0] + 1, about))
            about = {}
        elif token.level == 0:
            about = {}
    return found


def commands_of(block):
    """Each command of a block with the lines that it prints: words, and a list of lines or None."""
    if block.kind == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            # A command that goes on in the next line has a backslash at its end.
            command, _, printed = _CONTINUED.sub(" ", part).partition("\n")
            yield shlex.split(command, comments=True), printed.splitlines()
    elif block.kind == "sh":
        for line in _CONTINUED.sub(" ", block.text).splitlines():
            if words := shlex.split(line, comments=True):
                yield words, None


def without_comments(block):
    """A block's code without what is said about it: the same in all languages."""
    lines = (re.sub(r"(^|\s+)#( .*|$)", "", line) for line in block.text.splitlines())
    return [line for line in lines if line.strip()]


_HASH = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b")
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d.,:]*(?<=\d)")


def shape(line):
    """A line without what may differ: numbers, dates, hashes, and the width of columns."""
    line = _NUMBER.sub("0", _HASH.sub("0", line))
    return " ".join(line.split())


def differing(printed, expected):
    """The first expected line that is not among those that were printed; None if all are.

    They follow each other, but where a line ``…`` stands; an ``…`` in a line is anything.
    """
    text = "".join(f"{shape(line)}\n" for line in printed if line.strip())
    pattern = _ANY_LINES
    for line in filter(str.strip, expected):
        whole = re.escape(shape(line)).replace("…", ".*") + r"\n"
        pattern += _ANY_LINES if line.strip() == "…" else whole
        if not re.match(pattern, text):
            return line
    return None


_ANY_LINES = r"(?:.*\n)*?"
