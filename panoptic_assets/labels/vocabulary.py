"""Vocabularies: the terms that clusters can be named by.

Belongs here: reading terms from text, which of them are the same, which is broader than which, and
the sentences that stand for a term. Does not belong here: files (``labels.inputs``), encoding
sentences, and choosing terms for clusters (``labels``).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from panoptic_assets.spec.tables import TableError, read_records
from panoptic_assets.spec.tag_log import HIERARCHY
from resources.errors import PlainError, message

Language = Literal["en", "fr"]

MAX_TERMS = 10_000
LONGEST_TERM = 200
"""Characters."""
TEMPLATES: dict[Language, tuple[str, ...]] = {
    "en": ("{}", "a photo of a {}"),
    "fr": ("{}", "une photo de {}"),
}
"""A term alone, and CLIP's own sentence (Radford et al., 2021, section 3.1.4)."""

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, halves of characters, and what turns the direction of
writing around, so that a name could rearrange the line that it stands in."""


class VocabularyError(PlainError, ValueError):
    """A text holds no vocabulary; the message says why, and where."""


@dataclass(frozen=True)
class Entry:
    """One term as it is given."""

    name: str
    prompt: str = ""
    """What stands for it in sentences, where its name has several meanings; empty: its name."""
    broader: str = ""
    """The name of the term that includes it, as fruit includes apple; empty: none."""
    place: str = ""
    """Where it is given, such as ``line 3``, for messages."""


@dataclass(frozen=True)
class Vocabulary:
    """Terms, no two of them the same."""

    terms: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    """For each term the sentences that stand for it, of every term as many."""
    broader: tuple[int, ...]
    """For each term the place of the one that includes it, or -1."""
    nb_repeated: int = 0
    """Entries that were left out because their term was there already."""


def normalised_term(term: str) -> str:
    """A term in the form in which terms are compared: Unicode NFC, without regard to case."""
    return unicodedata.normalize("NFC", cleaned(term)).casefold()


def cleaned(text: str) -> str:
    """Text on one line, in NFC, that shows nothing but itself."""
    return " ".join(unicodedata.normalize("NFC", _UNREADABLE.sub(" ", text)).split())


def vocabulary(entries: Iterable[Entry], templates: Sequence[str]) -> Vocabulary:
    """Make a vocabulary of entries; of those with the same term, the first one counts.

    Args:
        entries: The terms.
        templates: Sentences that contain ``{}``, where the term's prompt is put; one or more.

    Raises:
        VocabularyError: There is no term, or there are more than 10,000; one is too long; a broader
            term is unknown, or a term is broader than itself.
    """
    kept: list[Entry] = []
    texts: list[tuple[str, ...]] = []
    places: dict[str, int] = {}
    nb_repeated = 0
    for entry in entries:
        name = cleaned(entry.name)
        if not name:
            continue
        if max(len(name), len(entry.prompt)) > LONGEST_TERM:
            raise VocabularyError(
                "{term} has {length} characters: a term has at most {longest_term}",
                id="term-too-long",
                term=entry.place or message("a term", id="a-term"),
                length=max(len(name), len(entry.prompt)),
                longest_term=LONGEST_TERM,
            )
        if places.setdefault(normalised_term(name), len(kept)) != len(kept):
            nb_repeated += 1
            continue
        if len(kept) == MAX_TERMS:
            raise VocabularyError(
                "it has more than {max_terms:,} terms: take fewer",
                id="vocabulary-too-large",
                max_terms=MAX_TERMS,
            )
        kept.append(Entry(name, entry.prompt, entry.broader, entry.place))
        prompt = cleaned(entry.prompt) or name
        texts.append(tuple(template.replace("{}", prompt) for template in templates))
    if not kept:
        raise VocabularyError("it has no term: write one on each line", id="vocabulary-empty")
    broader = tuple(_place(entry, places) for entry in kept)
    _check_tree(kept, broader)
    return Vocabulary(tuple(entry.name for entry in kept), tuple(texts), broader, nb_repeated)


def _place(entry: Entry, places: dict[str, int]) -> int:
    if not cleaned(entry.broader):
        return -1
    place = places.get(normalised_term(entry.broader))
    if place is None:
        raise VocabularyError(
            "{term} names {broader!r} as the broader term, which is not in the vocabulary: add "
            "it, or leave the column empty",
            id="broader-term-unknown",
            term=entry.place or entry.name,
            broader=entry.broader[:LONGEST_TERM],
        )
    return place


def _check_tree(kept: Sequence[Entry], broader: Sequence[int]) -> None:
    safe: set[int] = {-1}
    for start in range(len(kept)):
        path: list[int] = []
        place = start
        while place not in safe:
            if place in path:
                raise VocabularyError(
                    "{term} makes the term {name!r} broader than itself: correct the column "
                    "`broader`",
                    id="broader-term-in-circle",
                    term=kept[place].place or kept[place].name,
                    name=kept[place].name,
                )
            path.append(place)
            place = broader[place]
        safe.update(path)


def terms_of_lines(text: str, templates: Sequence[str]) -> Vocabulary:
    """The vocabulary of a text with a term on each line; empty lines do not count."""
    numbered = enumerate(text.split("\n"), start=1)  # whatever else ends lines, a term may hold
    entries = [Entry(line, place=f"line {number}") for number, line in numbered]
    return vocabulary(entries, templates)


def terms_of_table(text: str, templates: Sequence[str]) -> Vocabulary:
    """The vocabulary of a CSV text, which :mod:`panoptic_assets.spec.tables` can read.

    Its columns are ``term``, and where wanted ``prompt`` and ``broader``; others are not read.

    Raises:
        VocabularyError: It is no such text, or see :func:`vocabulary`.
    """
    try:
        entries = [
            Entry(row["term"], row.get("prompt", ""), row.get("broader", ""), f"line {line}")
            for line, row in read_records(text, ("term", "prompt", "broader"))
        ]
    except TableError as error:
        raise VocabularyError.restored(error.message, str(error).rstrip(".")) from error
    return vocabulary(entries, templates)


def shipped(text: str, language: Language, templates: Sequence[str] = ()) -> Vocabulary:
    """The vocabulary of a CSV text whose columns are the names of each term in every language.

    The sentences are English ones, whatever the language of the names: most CLIP models know no
    other language, and `embedded:mini` knows it best (see :mod:`panoptic_assets.labels.naming`).

    Args:
        text: Columns ``en``, ``fr``, ``en_prompt``, ``fr_prompt``, and ``broader`` in English.
        language: Of the terms' names.
        templates: Sentences to put the names of ``language`` into, in place of those in English.
    """
    rows = [row for _, row in read_records(text, ("en",))]
    names = {normalised_term(row["en"]): row[language] for row in rows}
    spoken: Language = language if templates else "en"
    entries = [
        Entry(
            row[language],
            row[f"{spoken}_prompt"] or row[spoken],
            names.get(normalised_term(row["broader"]), ""),
        )
        for row in rows
    ]
    return vocabulary(entries, templates or TEMPLATES[spoken])


def term_paths(tags: Sequence[str], templates: Sequence[str]) -> Vocabulary:
    """The vocabulary of tags: of a path such as ``Greek > amphora`` the last name.

    Tags above are broader terms. Names that several tags have come with those above them:
    ``amphora (Greek)``, in sentences ``Greek, amphora``.
    """
    split = {
        parts[:depth]: None
        for tag in tags
        for names in [map(cleaned, tag.split(HIERARCHY))]
        for parts in [tuple(name[:LONGEST_TERM] for name in names if name)]
        for depth in range(1, len(parts) + 1)
    }
    shared: dict[str, int] = {}
    for path in split:
        shared[normalised_term(path[-1])] = shared.get(normalised_term(path[-1]), 0) + 1

    def name(path: tuple[str, ...]) -> str:
        if shared[normalised_term(path[-1])] == 1 or len(path) == 1:
            return path[-1]
        return f"{path[-1]} ({', '.join(path[:-1])})"[:LONGEST_TERM]

    entries = [
        Entry(
            name(path),
            "" if name(path) == path[-1] else ", ".join(path)[:LONGEST_TERM],
            name(path[:-1]) if path[:-1] else "",
        )
        for path in split
    ]
    return vocabulary(entries, templates)
