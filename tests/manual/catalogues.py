"""Brings the catalogues to what the program says: ``python -m tests.manual.catalogues``.

It writes ``panoptic_assets/spec/catalogues/<language>/<part>.po``, a file for each part of
:data:`PARTS`: translations that are there stay, texts that are new wait for one, and what the
program no longer says goes. Then it names what is missing or wrong, as ``tests/test_catalogues.py``
finds it. Translate by filling in ``msgstr``.

Belongs here: finding the texts, and what a translation must keep of a text. Does not belong here:
how they are looked up (``spec.languages``).
"""

import inspect
import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from jinja2 import TemplateSyntaxError
from jinja2.ext import babel_extract
from pydantic import BaseModel

from panoptic_assets.clustering.config import METHODS, ClusteringConfig, NestedClusteringConfig
from panoptic_assets.labels.config import LABEL_METHODS, LabelsConfig
from panoptic_assets.spec.languages import CATALOGUES, ENGLISH, LANGUAGES, NOTE, PLURAL_FORMS
from panoptic_assets.tags.config import SaveConfig
from tests.test_architecture import ROOT, parsed, sources
from tests.test_messages import CALLS, makers

COMMAND = "python -m tests.manual.catalogues"

OTHERS = tuple(code for code in LANGUAGES if code != ENGLISH)
"""The languages that the program's texts are translated into."""

_WIDTH = 100
TEMPLATES = ("panoptic_assets/review/templates", "panoptic_assets/serve/templates")
SCRIPTS = ("panoptic_assets/review/static", "panoptic_assets/serve/static")
_JINJA = {
    # As `review.pages.environment` reads them.
    "trim_blocks": "true",
    "lstrip_blocks": "true",
    "newstyle_gettext": "true",
    "silent": "false",
}
_JAVASCRIPT = {"jsx": False, "parse_template_string": True}
_FUNCTIONS: dict[str, Any] = {
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
"""For each function the arguments that are texts; ``c`` is the context. Of Python: there ``_`` is
what is not used."""
_IN_PAGES: dict[str, Any] = {**_FUNCTIONS, "_": None}

_ASKED: tuple[type[BaseModel], ...] = (
    ClusteringConfig,
    NestedClusteringConfig,
    LabelsConfig,
    SaveConfig,
    *METHODS,
    *LABEL_METHODS,
)
"""What forms ask for."""

_SPACE = "\u202f"
"""The narrow space, at which no line is broken."""


@dataclass(frozen=True)
class Text:
    """A text of the program."""

    id: str | tuple[str, str]
    """In English; one that goes with a number in both its forms."""
    file: str
    comment: str = ""
    """For who translates it."""
    context: str | None = None


def messages() -> Iterator[Text]:
    """The templates of messages, of errors and of the notes of records."""
    for where, call in CALLS:
        [name] = [keyword.value.value for keyword in call.keywords if keyword.arg == "id"]
        yield Text(call.args[0].value, where.partition(":")[0], name)
    for path in sources():
        for call in makers(parsed(path), {"noted"}):
            template = getattr(call.args[0], "value", None)
            assert isinstance(template, str), f"{path}:{call.lineno}: the note is no literal"
            yield Text(template, str(path.relative_to(ROOT)), NOTE)


def pages() -> Iterator[Text]:
    """The texts that templates, scripts and Python's code mark."""
    for folder in TEMPLATES:
        for file in sorted((ROOT / folder).glob("*.html")):
            yield from _marked(file, babel_extract, _IN_PAGES, _JINJA)
    for folder in SCRIPTS:
        for file in sorted((ROOT / folder).glob("*.js")):
            yield from _marked(file, "javascript", _IN_PAGES, _JAVASCRIPT)
    for file in sources():
        yield from _marked(file, "python", _FUNCTIONS, {})


def forms() -> Iterator[Text]:
    """The descriptions of what a form asks for, and of the choices that it gives."""
    seen: set[type[BaseModel]] = set()
    for kind in _ASKED:
        yield from _described(kind, seen)


def _described(kind: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[Text]:
    # Methods of other packages speak for themselves.
    if kind in seen or not kind.__module__.startswith("panoptic_assets."):
        return
    seen.add(kind)
    file = kind.__module__.replace(".", "/") + ".py"
    yield Text(" ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()), file, kind.__name__)
    for name, field in kind.model_fields.items():
        if field.description:
            yield Text(" ".join(field.description.split()), file, f"{kind.__name__}.{name}")
        for inner in _kinds(field.annotation):
            yield from _described(inner, seen)


def _kinds(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _marked(file: Path, method: Any, functions: dict[str, Any], options: Any) -> Iterator[Text]:
    with file.open("rb") as opened:
        try:
            found = [*extract(method, opened, functions, ("Translators:",), options)]
        except TemplateSyntaxError as error:
            error.filename = str(file)
            raise
    for _, said, comments, context in sorted(found, key=lambda one: one[0]):
        note = " ".join(comments).removeprefix("Translators:").strip()
        id: Any = said if isinstance(said, str) else said[:2]
        yield Text(id, str(file.relative_to(ROOT)), note, context)


PARTS: dict[str, Callable[[], Iterator[Text]]] = {
    "messages": messages,
    "pages": pages,
    "forms": forms,
}
"""For each file of a language, what finds its texts."""


def catalogue_file(code: str, part: str) -> Path:
    """The file of a part of a language's catalogues."""
    return CATALOGUES / code / f"{part}.po"


def read(code: str, part: str) -> Catalog:
    """The translations that are there, none where there is no file.

    Raises:
        PoFileError: The file is none of gettext's.
    """
    file = catalogue_file(code, part)
    if not file.exists():
        return _empty(code)
    with file.open("rb") as opened:
        return read_po(opened, locale=code, abort_invalid=True)


def _empty(code: str) -> Catalog:
    catalogue = Catalog(locale=code)
    catalogue.mime_headers = [("Plural-Forms", PLURAL_FORMS[code])]
    return catalogue


def merged(code: str, part: str, texts: Iterable[Text]) -> Catalog:
    """The catalogue of some texts, with the translations that are there."""
    there = read(code, part)
    catalogue = _empty(code)
    for text in sorted(texts, key=lambda text: text.file):
        known = there.get(text.id, text.context)
        entry = catalogue.add(
            text.id,
            known.string if known is not None and known.id == text.id else None,
            locations=[(text.file, None)],
            auto_comments=[text.comment] if text.comment else [],
            context=text.context,
        )
        entry.flags -= {"python-format"}  # of a percent sign
        entry.flags |= {"python-brace-format"} if _is_brace_format(text.id) else set()
    return catalogue


def _is_brace_format(id: str | tuple[str, str]) -> bool:
    return "{" in (id if isinstance(id, str) else id[1])


def write(code: str, part: str) -> Catalog:
    """Write the file of a part of a language's catalogues anew."""
    catalogue = merged(code, part, PARTS[part]())
    file = catalogue_file(code, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    with draft.open("wb") as opened:
        # Babel's own header has the moment, which would be another one each time.
        opened.write(
            f"# Made by {COMMAND}: the texts are found in the code, fill in what follows msgstr.\n"
            'msgid ""\nmsgstr ""\n'
            f'"Language: {code}\\n"\n'
            '"MIME-Version: 1.0\\n"\n'
            '"Content-Type: text/plain; charset=utf-8\\n"\n'
            '"Content-Transfer-Encoding: 8bit\\n"\n'
            f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'.encode()
        )
        write_po(opened, catalogue, width=_WIDTH, omit_header=True, include_lineno=False)
    draft.replace(file)  # at once: who reads half a catalogue writes one without the other half
    return catalogue


def problems(code: str, part: str, texts: Iterable[Text] | None = None) -> list[str]:
    """What is wrong with a part of a language's catalogues, a line each; none if nothing is.

    Args:
        code: The language.
        part: One of :data:`PARTS`.
        texts: What is said; by default what is found in the code.
    """
    there = read(code, part)
    wanted = [*(PARTS[part]() if texts is None else texts)]
    plurals = {text.id[0] for text in wanted if not isinstance(text.id, str)}
    found = []
    said = set()
    for text in wanted:
        said.add((text.id, text.context))
        entry = there.get(text.id, text.context)
        shown = f"{text.file}: {text.id!r}"
        if entry is None or not any(_forms(entry)):
            found.append(f"{shown} is not translated")
        elif text.id in plurals and text.file.endswith(".js"):  # gettext finds it, scripts do not
            found.append(f"{shown} is also the singular of a text that goes with a number")
        elif not isinstance(text.id, str) and entry.id != text.id:
            found.append(f"{shown} has the singular of {entry.id!r}, and gettext knows it by that")
        else:
            found += [f"{shown} {wrong}" for wrong in faults(entry, there.num_plurals)]
    found += [
        f"{entry.id!r} is translated, and nothing says it"
        for entry in there
        if entry.id and (entry.id, entry.context) not in said
    ]
    return [*dict.fromkeys(found)]


def _forms(entry: Entry) -> list[str]:
    return [*entry.string] if isinstance(entry.string, list | tuple) else [str(entry.string or "")]


def faults(entry: Entry, nb_plurals: int = 2) -> Iterator[str]:
    """What is wrong with a translation.

    Args:
        entry: The text, and its translation.
        nb_plurals: Forms that the language has, with numbers.
    """
    forms = _forms(entry)
    texts = [entry.id] if isinstance(entry.id, str) else [*entry.id]
    if len(forms) != (1 if isinstance(entry.id, str) else nb_plurals) or not all(forms):
        yield f"has {sum(map(bool, forms))} of {nb_plurals} forms"
    if entry.fuzzy:
        yield "is marked as fuzzy"
    wanted = placeholders(texts[-1])
    for place, form in enumerate(forms):
        try:
            has = placeholders(form)
        except ValueError as error:
            yield f"has a translation that cannot be filled in: {error}"
            continue
        # Of one thing a language may say "a thing".
        may_lack = place == 0 and len(texts) > 1
        if has != wanted and not (may_lack and has < wanted):
            yield f"has other placeholders in its translation: {sorted(has ^ wanted)}"
        if sorted(set(_code(form))) != sorted(set(_code(texts[-1]))):
            yield f"has other code in its translation: {set(_code(form)) ^ set(_code(texts[-1]))}"
        if form.endswith((".", "…")) != texts[-1].endswith((".", "…")):
            yield "ends otherwise than its translation"
        if wrong := _MISWRITTEN.search(_apart(form)):
            yield f"is translated with {wrong[0]!r}"


_MISWRITTEN = re.compile(
    rf"\w'\w|[^\s{_SPACE}]?[ \u00a0][;:?!»](?!\w)|«(?!{_SPACE})|(?<!{_SPACE})»|  |\.\.\."
)
"""What typography forbids in French: a straight apostrophe, and before signs of two parts, and in
quotation marks, any space but the narrow one that breaks no line."""


def placeholders(text: str) -> set[str]:
    """What is filled in, in ``str.format``'s way or Jinja's; with how a value is converted.

    Args:
        text: A text or its translation. How a number is written (``:,``) is left out: the language
            does that.

    Raises:
        ValueError: Its braces do not match.
    """
    named = set(re.findall(r"%\((\w+)\)s", text))
    parts = string.Formatter().parse(text)
    return named | {
        f"{field}!{conversion or ''}" for _, field, _, conversion in parts if field is not None
    }


def _code(text: str) -> list[str]:
    return re.findall(r"`[^`]*`|<[^>]*>", text)


def _apart(text: str) -> str:
    """A text without its code and what is filled in."""
    return re.sub(r"`[^`]*`|<[^>]*>|\{\w[^}]*\}|%\(\w+\)s", "x", text)


if __name__ == "__main__":
    for language in OTHERS:
        for part in PARTS:
            write(language, part)
            for problem in problems(language, part):
                print(problem)
