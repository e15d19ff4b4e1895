"""The pages of the manual as HTML, and as Markdown that a terminal can show.

Belongs here: links, pictures and tables of a page in either form, and the page around it. Does not
belong here: which pages there are (``manual.contents``).
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from markdown_it.token import Token
from markupsafe import Markup

from panoptic_assets.manual.contents import (
    FOLDER,
    LONGEST_SEARCH,
    Page,
    pages,
    parser,
    search_pages,
)
from panoptic_assets.review.pages import environment
from panoptic_assets.spec.languages import LANGUAGES

STYLES = ("page.css", "manual.css")
"""Files that every page loads, by their name below ``static`` of the manual's address."""

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "manual": "Manual",
        "pages": "All pages",
        "how-to": "How to",
        "explanation": "Explanation",
        "reference": "Reference",
        "more": "When stuck",
        "search": "Search the manual",
        "find": "Find",
        "found": "Sections with “{words}”",
        "none": "No section has any of these words. Try others, or the other language.",
        "nearest": "No section has all of these words. These have most of them:",
        "on_page": "On this page",
        "skip": "Skip to the content",
        "assets": "Dagster’s UI",
        "reports": "Reports",
        "more_hits": "… and {number} more: add a word.",
        "only_in": "",
        "picture": "Picture",
    },
    "fr": {
        "manual": "Manuel",
        "pages": "Toutes les pages",
        "how-to": "Modes d’emploi",
        "explanation": "Explications",
        "reference": "Référence",
        "more": "En cas de blocage",
        "search": "Chercher dans le manuel",
        "find": "Chercher",
        "found": "Sections qui contiennent « {words} »",
        "none": "Aucune section ne contient l’un de ces mots. Essayez-en d’autres, ou en anglais.",
        "nearest": "Aucune section ne contient tous ces mots. Celles-ci en contiennent le plus :",
        "on_page": "Sur cette page",
        "skip": "Aller au contenu",
        "assets": "L’interface de Dagster",
        "reports": "Rapports",
        "more_hits": "… et {number} autres : ajoutez un mot.",
        "only_in": "en anglais",
        "picture": "Image",
    },
}
"""What stands around a page, in each language."""

MOST_HITS = 12
"""Sections that a search shows."""
_KINDS = ("", "how-to", "explanation", "reference", "more")
_WHEN_STUCK = ("troubleshooting", "glossary")
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_PAGE_LINK = re.compile(r"\]\((?:[^)#:]*/)?([\w-]+)\.md(#[\w-]+)?\)")


def to_html(page: Page, shown_in: str, root: str) -> str:
    """A page as a whole HTML document.

    Args:
        page: The page.
        shown_in: The language of what stands around it.
        root: The address of the manual, without a slash at its end.
    """
    content = Markup(_body(page.language, page.name))  # noqa: S704 (it escapes what it is given)
    return _document(
        shown_in,
        root,
        page=page,
        title=page.title,
        content=content,
        words="",
        sections=[section for section in page.sections[1:] if section.text.startswith("## ")],
    )


def results_to_html(words: str, shown_in: str, root: str) -> str:
    """What a search finds as a whole HTML document."""
    words = words[:LONGEST_SEARCH]
    hits, has_all = search_pages(words, shown_in)
    return _document(
        shown_in,
        root,
        page=None,
        title=TEXTS[shown_in]["found"].format(words=words),
        words=words,
        hits=hits[:MOST_HITS],
        nb_more=len(hits[MOST_HITS:]),
        has_all=has_all,
        sections=[],
    )


def to_terminal(text: str, language: str) -> str:
    """Markdown of a page for a terminal: links name pages as the command takes them, pictures are
    their descriptions."""
    described = TEXTS[language]["picture"]
    text = _IMAGE.sub(lambda found: f"*{described}: {found[1]}.*", text)
    text = re.sub(r"<(https?://[^>\s]+)>", r"`\1`", text)
    return _PAGE_LINK.sub(r"](\1\2)", text)


def _document(shown_in: str, root: str, **values: object) -> str:
    groups: dict[str, list[Page]] = {kind: [] for kind in _KINDS}
    for page in pages(shown_in):
        groups["more" if page.name in _WHEN_STUCK else page.kind].append(page)
    template = environment(FOLDER / "templates").get_template("manual.html")
    return template.render(
        language=shown_in,
        languages=LANGUAGES,
        texts=TEXTS[shown_in],
        groups=groups,
        root=root,
        styles=[f"{root}/static/{name}" for name in STYLES],
        **values,
    )


@functools.cache
def _body(language: str, name: str) -> str:
    page = Page(language, name)
    tokens = parser().parse(page.text)
    _resolve(tokens)
    if language == "fr":
        _keep_together(tokens)
    html: str = parser().renderer.render(tokens, parser().options, {})
    return html.replace("<table>", '<div class="scroll"><table>').replace(
        "</table>", "</table></div>"
    )


def _resolve(tokens: list[Token]) -> None:
    """Links to files of pages become addresses of pages."""
    for token in tokens:
        _resolve(token.children or [])
        target = str(token.attrs.get("href", ""))
        path, mark, anchor = target.partition("#")
        if path.endswith(".md") and "://" not in path:
            token.attrs["href"] = f"{path.removesuffix('.md')}{mark}{anchor}"


def _keep_together(tokens: list[Token]) -> None:
    """French signs stay on the line of their word: ``« tag » :`` with spaces that do not break."""
    for token in tokens:
        _keep_together(token.children or [])
        if token.type == "text":
            token.content = re.sub(r"(?<=«) | (?=[:;?!»%])", "\u00a0", token.content)


def picture(name: str) -> Path | None:
    """The file of a picture that pages show; None where there is none of that name."""
    known = {path.name: path for path in (FOLDER / "pictures").glob("*.webp")}
    return known.get(name)
