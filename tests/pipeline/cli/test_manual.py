"""The manual in a terminal."""

import pytest

from tests.commands import refused, run


def test_without_words_the_pages_are_listed(tmp_path):
    said = run("manual", cwd=tmp_path, COLUMNS="80").stdout
    assert "Tutorial: sort 69 monuments (tutorial)" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("variables", "title"),
    [
        ({"LANG": "fr_FR.UTF-8"}, "Le manuel"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, "The manual"),
        ({"LC_MESSAGES": "fr_CA.UTF-8", "LANG": "en_CA.UTF-8"}, "Le manuel"),
        ({"LANG": "de_DE.UTF-8"}, "The manual"),
    ],
)
def test_the_terminal_says_in_which_language(tmp_path, variables, title):
    without = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""}
    assert title in run("manual", cwd=tmp_path, **without | variables).stdout


def test_a_question_is_answered_in_two_steps(tmp_path):
    """Words lead to a section, and its address shows it; no project is needed."""
    found = run("manual", "my", "disk", "is", "away", cwd=tmp_path)
    [first, *_] = found.stdout.splitlines()
    address = first.split()[0]
    assert f"panoptic-assets manual {address}" in found.stderr
    assert "--accept-missing" in run("manual", address, cwd=tmp_path).stdout


def test_where_words_are_not_together_the_nearest_places_are_named_as_such(tmp_path):
    found = run("manual", "score", "xyzzy", "--language", "fr", cwd=tmp_path)
    assert "No section has all of these words" in found.stderr
    assert "(en)" in found.stdout
    assert "more: add a word" in found.stdout


def test_a_page_that_is_not_in_french_is_shown_in_english(tmp_path):
    said = run("manual", "production", "--language", "fr", cwd=tmp_path).stdout
    assert "Run a project in production" in said


def test_markdown_is_given_as_it_is_written_but_for_what_tests_read(tmp_path):
    said = run("manual", "tutorial", "--markdown", cwd=tmp_path).stdout
    assert said.startswith("# Tutorial")
    assert "<!--" not in said


def test_words_that_are_nowhere_are_refused(tmp_path):
    assert "no page 'xyzzy plugh'" in refused("manual", "xyzzy", "plugh", cwd=tmp_path)
    assert "has no section 'nowhere'" in refused("manual", "tags#nowhere", cwd=tmp_path)
