"""The pages of the manual: which there are, what they are called, and where a word is explained.

Belongs here: reading, finding and searching pages, and their text without what only tests read.
Does not belong here: how they are shown (``manual.rendering``).

A page is a file ``<language>/<name>.md``. Its name, as ``how-to/tags``, is the same in every
language; the order of the pages is that of the links in ``index.md``. Comments say where a page's
commands are run by the tests, and are shown to nobody.
"""

import functools
import itertools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin

from panoptic_assets.spec.languages import LANGUAGES
from resources.errors import InputError

FOLDER = Path(__file__).parent
INDEX = "index"

_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)\.md\)")
LONGEST_SEARCH = 100
"""Characters: what comes from a browser may be of any length."""
_IN_EVERY_QUESTION = frozenset(
    re.findall(
        r"\w+",
        "a an and are by can do does for get has how i in is it me mean means my of on the to was "
        "what when where which why with au aux avec ce comment dans de des du en est et faire "
        "il je la le les ma mes mon ou par pour pourquoi que quel quelle qu quoi sont sur un une "
        "veut dire",
    )
)
"""Without accents, in all languages."""


@dataclass(frozen=True)
class Section:
    """A heading of a page with what stands below it, up to the next heading of any level."""

    title: str
    anchor: str
    """As links name it, without the ``#``."""
    text: str
    """Markdown, the heading included."""


@dataclass(frozen=True)
class Page:
    """A page in one language."""

    language: str
    name: str
    """As ``how-to/tags``."""

    @functools.cached_property
    def text(self) -> str:
        """Its Markdown, without comments."""
        path = FOLDER / self.language / f"{self.name}.md"
        return _COMMENT.sub("", path.read_text(encoding="utf-8")).lstrip("\n")

    @property
    def short_name(self) -> str:
        """The last part of its name, which no other page has."""
        return self.name.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """The folder it lies in: ``how-to``, ``explanation``, ``reference``, or none."""
        return self.name.rpartition("/")[0]

    @property
    def title(self) -> str:
        """Its first heading."""
        return self.sections[0].title

    @functools.cached_property
    def sections(self) -> tuple[Section, ...]:
        """Its headings, in order; the first is the page's title."""
        lines = self.text.split("\n")
        tokens = parser().parse(self.text)
        found = [
            (place.map[0], str(place.attrs["id"]), _plain(inline.children or []))
            for place, inline in itertools.pairwise(tokens)
            if place.type == "heading_open" and place.map
        ]
        ends = [start for start, _, _ in found[1:]] + [len(lines)]
        return tuple(
            Section(title, anchor, "\n".join(lines[start:end]).rstrip())
            for (start, anchor, title), end in zip(found, ends, strict=False)
        )

    def section(self, anchor: str) -> Section:
        """The section of an anchor, with those of lower levels that follow it.

        Raises:
            InputError: The page has none.
        """
        for place, section in enumerate(self.sections):
            if section.anchor == anchor:
                below = [section]
                for other in self.sections[place + 1 :]:
                    if _level(other) <= _level(section):
                        break
                    below.append(other)
                return Section(section.title, anchor, "\n\n".join(part.text for part in below))
        raise InputError(
            "The page {page} has no section {anchor!r}. Its sections: {known}.",
            id="no-such-section-of-manual",
            page=self.short_name,
            anchor=anchor,
            known=", ".join(section.anchor for section in self.sections[1:]) or "none",
        )


@dataclass(frozen=True)
class Hit:
    """A section in which all words of a search are."""

    page: Page
    section: Section

    @property
    def address(self) -> str:
        """As the command takes it: ``growing-corpus#a-disk-that-is-away``."""
        name, first = self.page.short_name, self.page.sections[0]
        return name if self.section == first else f"{name}#{self.section.anchor}"


@functools.cache
def parser() -> MarkdownIt:
    """CommonMark with tables, whose headings have the anchors that code hosts give them.

    Raw HTML is text: a page of the manual has none.
    """
    plain = MarkdownIt("commonmark", {"html": False}).enable("table")
    return plain.use(anchors_plugin, max_level=4)


@functools.cache
def pages(language: str) -> tuple[Page, ...]:
    """All pages in the order of the index; those that a language lacks, in the first language."""
    first = next(iter(LANGUAGES))
    linked = _LINK.findall(Page(language, INDEX).text)
    names = dict.fromkeys([INDEX, *(name.removeprefix(f"../{first}/") for name in linked)])
    there = _names(language) | _names(first)
    return tuple(manual_page(language, name) for name in names if name in there)


def manual_page(language: str, name: str) -> Page:
    """The page of a name, in the first language where it is not written in this one.

    Raises:
        InputError: There is no such page.
    """
    for candidate in (language, next(iter(LANGUAGES))):
        if name in _names(candidate):
            return Page(candidate, name)
    raise InputError(
        "The manual has no page {name!r}. `panoptic-assets manual` lists the pages; several words "
        "are looked for in all of them.",
        id="no-such-page-of-manual",
        name=name,
    )


def find_page(wanted: str, language: str) -> Page | None:
    """The page of a name or of its last part, without regard to case; None where there is none."""
    name = wanted.strip().casefold().removesuffix(".md").strip("/")
    known = {page.name: page for page in pages(language)}
    short = {page.short_name: page for page in pages(language)}
    return known.get(name) or short.get(name)


def search_pages(words: str, language: str) -> tuple[list[Hit], bool]:
    """The sections that hold all words, or where there is none, those that hold most of them.

    Accents, letter case and signs do not count, nor do an s at the end and letters behind a word
    (``tags`` finds ``tag``, ``tag`` finds ``tagged``), nor words that every question has.

    Returns:
        The sections, those that name more words in a heading first, and whether they hold all.
    """
    wanted = list(dict.fromkeys(re.findall(r"\w+", _folded(words[:LONGEST_SEARCH]))))
    wanted = [word for word in wanted if word not in _IN_EVERY_QUESTION] or wanted
    wanted = [word.rstrip("s") or word for word in wanted]
    found: list[tuple[int, int, Hit]] = []
    for page in pages(language)[1:]:  # the index has the words of all others
        for section, headings, text in _searched(page):
            named = sum(_holds(headings, word) for word in wanted)
            held = sum(_holds(headings, word) or _holds(text, word) for word in wanted)
            if held:
                found.append((held, named, Hit(page, section)))
    most = max((held for held, *_ in found), default=0)
    best = sorted((hit for hit in found if hit[0] == most), key=lambda hit: -hit[1])
    return [hit for *_, hit in best], most == len(wanted)


@functools.cache
def _names(language: str) -> frozenset[str]:
    folder = FOLDER / language
    return frozenset(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")
    )


@functools.cache
def _searched(page: Page) -> tuple[tuple[Section, str, str], ...]:
    """Each section with its headings and its text in the form in which they are compared."""
    title = page.title
    return tuple(
        (section, _folded(f"{title} {section.title}"), _folded(section.text))
        for section in page.sections
    )


def _level(section: Section) -> int:
    return len(section.text) - len(section.text.lstrip("#"))


def _plain(children: list[Token]) -> str:
    return "".join(child.content for child in children)


def _folded(text: str) -> str:
    apart = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}", text) is not None
