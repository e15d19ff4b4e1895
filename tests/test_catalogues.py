"""What the program says is translated whole, and every text of a page can be."""

import re

import jinja2
import pytest
from babel.messages.catalog import Message

from tests.manual import catalogues
from tests.manual.catalogues import OTHERS, PARTS, Text
from tests.test_architecture import ROOT

FOUND = {part: [*find()] for part, find in PARTS.items()}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_with_its_placeholders_and_forms(code, part):
    """`python -m tests.manual.catalogues` adds what is new, and takes out what nothing says."""
    assert catalogues.problems(code, part, FOUND[part]) == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_text_has_one_translation_in_all_catalogues(code):
    known = {}
    for part in PARTS:
        for entry in catalogues.read(code, part):
            if entry.id:
                key = (entry.id, entry.context)
                assert known.setdefault(key, entry.string) == entry.string, key


def test_texts_are_found_wherever_they_are_said():
    kinds = {text.file.rpartition(".")[2] for text in FOUND["pages"]}
    assert kinds == {"html", "js", "py"}
    assert any(not isinstance(text.id, str) for text in FOUND["pages"])
    assert len(FOUND["messages"]) > 400
    assert len(FOUND["forms"]) > 100


@pytest.mark.parametrize(
    ("id", "string", "wrong"),
    [
        ("{n} of {all}", "{n} sur {all}", None),
        ("{n:,} images", "{n} images", None),
        ("%(n)s of %(all)s", "sur %(all)s, %(n)s", None),
        ("{{n}} `x: {{y}}`", "{{n}} `x: {{y}}`", None),
        (("an image", "{n} images"), ("une image", "{n} images"), None),
        ("{n} of {all}", "{n}", "other placeholders"),
        ("{n!r}", "{n}", "other placeholders"),
        ("%(n)s images", "%(N)s images", "other placeholders"),
        ("{n}", "{n", "cannot be filled in"),
        (("an image", "{n} images"), ("une image", "images"), "other placeholders"),
        (("an image", "{n} images"), ("une image", ""), "1 of 2 forms"),
        ("run `a b`", "lancez `a c`", "other code"),
        ("Done.", "Fini", "ends otherwise"),
        ("the image", "l'image", "is translated with"),
        ("no: why", "non : pourquoi", "is translated with"),
        ("“a”", "« a »", "is translated with"),
    ],
)
def test_what_is_wrong_with_a_translation_is_found(id, string, wrong):
    found = [*catalogues.faults(Message(id, string))]
    assert found == [] if wrong is None else any(wrong in fault for fault in found)


def test_what_nothing_says_any_more_is_found_and_what_is_new(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogues, "CATALOGUES", tmp_path)
    monkeypatch.setitem(catalogues.PARTS, "pages", lambda: [Text("Close", "a.js")])
    catalogues.write("fr", "pages")
    file = catalogues.catalogue_file("fr", "pages")
    file.write_text(file.read_text().replace('"Close"\nmsgstr ""', '"Close"\nmsgstr "Fermer"'))
    assert catalogues.problems("fr", "pages") == []
    found = catalogues.problems("fr", "pages", [Text("Open", "a.js")])
    assert found == [
        "a.js: 'Open' is not translated",
        "'Close' is translated, and nothing says it",
    ]


def test_writing_the_catalogues_again_changes_nothing(monkeypatch, tmp_path):
    """And what is translated stays."""
    texts = [Text("Close", "b.js"), Text(("an image", "{n} images"), "a.html", "why")]
    monkeypatch.setattr(catalogues, "CATALOGUES", tmp_path)
    monkeypatch.setitem(catalogues.PARTS, "pages", lambda: texts)
    catalogues.write("fr", "pages")
    file = catalogues.catalogue_file("fr", "pages")
    file.write_text(file.read_text().replace('"Close"\nmsgstr ""', '"Close"\nmsgstr "Fermer"'))
    before = file.read_bytes()
    catalogues.write("fr", "pages")
    assert file.read_bytes() == before


NAMES = {"Panoptic", "Dagster", "panoptic_assets"} | {
    *("Rand", "Jaccard", "Davies", "Bouldin", "Caliński", "Harabasz")
}
"""What is called so in every language."""
SPOKEN = ("alt", "aria-label", "aria-description", "placeholder", "title")
"""Attributes that people read or hear."""


def unmarked(template):
    """The words of a template that no catalogue can translate."""
    environment = jinja2.Environment(extensions=["jinja2.ext.i18n"])
    template = re.sub(r"{% block kind %}.*?{% endblock %}", "", template)  # names of CSS
    shown, marked, block = "", False, None
    for _, kind, value in environment.lex(template):
        if kind == "block_begin":
            block = True
        elif block and kind == "name":
            marked = {"trans": True, "endtrans": False}.get(value, marked)
            block = None
        elif kind == "data" and not marked:
            shown += value
        elif kind in ("variable_begin", "block_end"):
            shown += "\0"  # what is filled in
    shown = re.sub(r"<(script|style)\b.*?</\1>|<!--.*?-->", "", shown, flags=re.DOTALL)
    attributes = re.findall(rf'\b(?:{"|".join(SPOKEN)})="([^"]*)"', shown)
    texts = [*attributes, *re.split(r"<[^>]*>", re.sub(r"<code.*?</code>", "", shown))]
    words = (word for text in texts for word in re.findall(r"(?<![&\w])[^\W\d_]{2}\w*", text))
    return [word for word in words if word not in NAMES]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ('<p class="wide">{{ _("Close") }}</p>', []),
        ("<p>{% trans n=5 %}{{ n }} images{% endtrans %}</p>", []),
        ("<p>{{ n }} images</p>", ["images"]),
        ('<img alt="a tree">', ["tree"]),
        ('<a title="{{ _("Close") }}">&times;</a>', []),
        ("<code>panoptic-assets ui</code>", []),
    ],
)
def test_words_that_are_not_marked_are_found(template, words):
    assert unmarked(template) == words


@pytest.mark.parametrize(
    "file",
    sorted(
        str(file.relative_to(ROOT))
        for folder in catalogues.TEMPLATES
        for file in (ROOT / folder).glob("*.html")
    ),
)
def test_every_word_of_a_page_is_marked(file):
    assert unmarked((ROOT / file).read_text(encoding="utf-8")) == []
