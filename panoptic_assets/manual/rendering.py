"""The pages of the manual as HTML, and as Markdown that a terminal can show.

Belongs here: links, pictures and tables of a page in either form, and the page around it. Does not
belong here: which pages there are (``manual.contents``).
"""

import functools
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from markdown_it.token import Token
from markupsafe import Markup

from panoptic_assets.manual.contents import FOLDER, LANGUAGES, Hit, Page, pages, parser
from panoptic_assets.review.pages import environment

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
        "none": "No section has all of these words. Try fewer of them, or the other language.",
        "on_page": "On this page",
        "skip": "Skip to the content",
        "assets": "Dagster’s UI",
        "reports": "Reports",
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
        "none": "Aucune section ne contient tous ces mots. Essayez-en moins, ou en anglais.",
        "on_page": "Sur cette page",
        "skip": "Aller au contenu",
        "assets": "L’interface de Dagster",
        "reports": "Rapports",
        "only_in": "en anglais",
        "picture": "Image",
    },
}
"""What stands around a page, in each language."""

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


def results_to_html(words: str, hits: list[Hit], shown_in: str, root: str) -> str:
    """What a search found as a whole HTML document."""
    title = TEXTS[shown_in]["found"].format(words=words)
    return _document(shown_in, root, page=None, title=title, words=words, hits=hits, sections=[])


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
        scripts=[],
        **values,
    )


@functools.cache
def _body(language: str, name: str) -> str:
    page = Page(language, name)
    tokens = parser().parse(page.text)
    _resolve(tokens)
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


def picture(name: str) -> Path | None:
    """The file of a picture that pages show; None where there is none of that name."""
    path = FOLDER / "pictures" / posixpath.basename(name)
    return path if path.name == name and path.suffix == ".webp" and path.is_file() else None
