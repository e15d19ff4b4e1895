"""The pages of the manual: each can be reached, and leads where it says."""

import re
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from panoptic_assets.manual.contents import (
    FOLDER,
    Page,
    find_page,
    manual_page,
    pages,
    search_pages,
)
from panoptic_assets.manual.rendering import to_html, to_terminal
from panoptic_assets.manual.terminal import printed
from panoptic_assets.spec.languages import LANGUAGES
from resources.errors import InputError
from tests.manual.blocks import blocks_of, differing, start_of, without_comments
from tests.test_architecture import ROOT
from tests.test_messages import CALLS

FILES = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*.md"))}
PAGES = {name: Page(*name.removesuffix(".md").split("/", maxsplit=1)) for name in FILES}
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/SECURITY.md")
FRENCH = sorted(name for name in FILES if name.startswith("fr/"))


def links(text):
    """Addresses of all links and pictures."""
    pending = MarkdownIt("commonmark").enable("table").parse(text)
    for token in pending:
        pending.extend(token.children or [])
        yield from (str(token.attrs[name]) for name in ("href", "src") if name in token.attrs)


def anchors(path):
    return {section.anchor for section in as_page(path).sections}


def as_page(path):
    """A page of the manual, or a file that is read as one."""
    page = Page("", "")
    page.__dict__["text"] = path.read_text(encoding="utf-8")  # where the property keeps it
    return page


@pytest.mark.parametrize("path", [*FILES.values(), *(ROOT / name for name in BESIDE)], ids=str)
def test_every_link_leads_somewhere(path):
    lost = []
    for link in links(path.read_text(encoding="utf-8")):
        place, _, anchor = unquote(link).partition("#")
        target = path.parent / place if place else path
        if not re.match(r"[a-z]+:", link) and not (
            target.exists() and (not anchor or anchor in anchors(target))
        ):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("name", FILES)
def test_a_page_has_one_title_and_says_where_its_commands_run(name):
    assert start_of(FILES[name].read_text(encoding="utf-8")) in ("none", "empty", "demo")
    titles = [part.title for part in PAGES[name].sections if part.text.startswith("# ")]
    assert titles == [PAGES[name].title]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_index_leads_to_every_page(language):
    there = {name.partition("/")[2].removesuffix(".md") for name in FILES}
    assert {page.name for page in pages(language)} == there


def test_the_last_part_of_a_name_says_which_page():
    short = [page.short_name for page in pages("en")]
    assert len(short) == len(set(short))


@pytest.mark.parametrize("name", FRENCH)
def test_a_french_page_shows_the_commands_of_the_english_one(name):
    """They are run there: tests/pipeline/manual."""
    english = FILES[name.replace("fr/", "en/", 1)].read_text(encoding="utf-8")
    french = FILES[name].read_text(encoding="utf-8")
    assert start_of(french) == start_of(english)
    assert list(map(without_comments, blocks_of(french))) == list(
        map(without_comments, blocks_of(english))
    )


@pytest.mark.parametrize("name", FILES)
def test_nothing_but_text_is_wider_than_a_terminal(name):
    """What goes beyond 115 columns in a block of code has no place to go but beyond the edge."""
    text = FILES[name].read_text(encoding="utf-8")
    wide = [
        line
        for block in blocks_of(text)
        for line in block.text.splitlines()
        if len(line) > 115 and block.kind != "console"
    ]
    assert wide == []


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("tags", "how-to/tags"),
        ("How-To/Tags.md", "how-to/tags"),
        ("index", "index"),
        ("scores", "explanation/scores"),
        ("nothing", None),
    ],
)
def test_a_page_is_found_by_its_name(wanted, name):
    page = find_page(wanted, "en")
    assert (page.name if page else None) == name


def test_what_is_not_written_in_french_is_shown_in_english():
    assert manual_page("fr", "how-to/tags").language == "fr"
    assert manual_page("fr", "how-to/production").language == "en"
    with pytest.raises(InputError, match="no page '../secret'"):
        manual_page("fr", "../secret")


@pytest.mark.parametrize(
    ("words", "language", "address"),
    [
        ("disk away", "en", "growing-corpus#when-a-disk-is-away"),
        ("MERGE tags?", "en", "tutorial#merge"),
        ("how do I undo a merge", "en", "tags#undo"),
        ("what does score 1000 mean?", "en", "scores#the-remainder-scores-1000"),
        ("hdbscan parameters", "en", "configuration#hdbscan"),
        ("doublons", "fr", "duplicates"),
        ("FUSIONNER", "fr", "tutorial#fusionner"),
        ("systems Windows", "fr", "systems#what-differs-on-windows"),
    ],
)
def test_words_of_a_question_lead_to_the_section_that_answers_it(words, language, address):
    hits, has_all = search_pages(words, language)
    assert has_all
    assert address in [hit.address for hit in hits[:3]]


def test_where_no_section_has_all_words_those_with_most_are_found():
    hits, has_all = search_pages("my external disk was unplugged by a xyzzy", "en")
    assert not has_all
    assert hits[0].address == "growing-corpus#when-a-disk-is-away"


@pytest.mark.parametrize("words", ["", "  ?", "xyzzy", "é" * 1000, "\0"])
def test_what_is_nowhere_is_not_found(words):
    assert search_pages(words, "en")[0] == []


def test_a_section_ends_where_one_of_its_level_begins():
    page = Page("en", "tutorial")
    section = page.section("divide")
    assert section.text.startswith("## Divide")
    assert "## Force" not in section.text
    with pytest.raises(InputError, match="has no section 'nowhere'"):
        page.section("nowhere")


def test_a_page_as_html_has_links_to_pages_and_no_markup_of_its_own(monkeypatch):
    page = Page("en", "hostile-page")
    page.__dict__["text"] = (
        "# A <b>title</b>\n\n<script>alert(1)</script> [other](tags.md#a) "
        "[bad](javascript:alert(1))\n"
    )
    monkeypatch.setattr("panoptic_assets.manual.rendering.Page", lambda *_: page)
    html = to_html(page, "en", "/m")
    assert "<script>alert" not in html
    assert 'href="tags#a"' in html
    assert 'href="javascript:' not in html


def test_french_signs_do_not_begin_a_line(monkeypatch):
    page = Page("fr", "signs")
    page.__dict__["text"] = "# Un « tag » : quoi ?\n\n`a : b` et 5 %\n"
    monkeypatch.setattr("panoptic_assets.manual.rendering.Page", lambda *_: page)
    html = to_html(page, "fr", "/m")
    assert "Un «\xa0tag\xa0»\xa0: quoi\xa0?" in html
    assert "<code>a : b</code> et 5\xa0%" in html


def test_in_a_terminal_code_is_whole_and_no_name_is_cut():
    command = "panoptic-assets tag split Buildings Castles monuments/germany/germany_01.jpg"
    text = (
        f"```sh\n{command}\n```\n\n| name | meaning |\n|---|---|\n| `{'n' * 30}` | {'word ' * 9}|\n"
    )
    said = printed(text, "en", 40, colours=False)
    assert f"    {command}\n" in said
    assert "n" * 30 in said
    assert "…" not in said


def test_in_a_terminal_links_name_pages_and_pictures_are_told():
    text = "![Towers](../pictures/towers.webp)\n[scores](../explanation/scores.md#a) <https://x.y>"
    assert to_terminal(text, "fr") == "*Image: Towers.*\n[scores](scores#a) `https://x.y`"


@pytest.mark.parametrize(
    ("printed", "expected", "lacking"),
    [
        (["a 12 b", " c"], ["a 7 b", "c"], None),
        (["a 12 b", "c"], ["c"], None),
        (["a", "x", "c"], ["a", "c"], "c"),
        (["a", "x", "c"], ["a", "…", "c"], None),
        (["sha256 ab12cd34ef", "2026-01-02 10:11"], ["sha256 1234567a…", "2025-12-01 09:00"], None),
        (["a b"], ["a … b"], "a … b"),
        (["a anything b"], ["a … b"], None),
        ([], ["a"], "a"),
    ],
)
def test_what_is_printed_is_compared_in_its_shape(printed, expected, lacking):
    assert differing(printed, expected) == lacking


def test_what_is_said_of_an_error_is_said_of_one_that_there_is():
    """The heading of each entry has the words of its message, in their order."""
    templates = {
        keyword.value.value: call.args[0].value
        for _, call in CALLS
        for keyword in call.keywords
        if keyword.arg == "id"
    }
    text = FILES["en/troubleshooting.md"].read_text(encoding="utf-8")
    entries = re.findall(r"^### (.+)\n+<!-- message: ([\w-]+) -->", text, re.MULTILINE)
    assert len(entries) >= 25
    for heading, name in entries:
        assert name in templates, name
        words = iter(re.findall(r"\w+", templates[name].casefold()))
        lacking = [word for word in re.findall(r"\w+", heading.casefold()) if word not in words]
        assert lacking == [], heading
