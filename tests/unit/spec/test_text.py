"""How values and texts are shown in messages."""

from panoptic_assets.spec.text import (
    beginning,
    counted,
    cut,
    in_quotes,
    nearest,
    shown,
    some,
)


def test_the_nearest_names_or_the_first_ones_are_shown():
    assert nearest("epoque", ["Époque", "Lieu", "Auteur"]) == ["Époque"]
    assert nearest("zzz", ["b", "a", "d", "c"]) == ["a", "b", "c"]
    assert nearest("x", []) == []


def test_a_text_that_is_cut_says_so_within_its_length():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert in_quotes("l'été") == '"l\'été"'
    assert in_quotes("x" * 61) == f"'{'x' * 59}…'"


def test_of_many_names_the_first_are_said():
    assert beginning(["a", "b"], 2) == some(["a", "b"], 2) == "a, b"
    assert beginning(["a", "b", "c"], 2) == "a, b, …"
    assert some(["a"] * 1002, 2) == "a, a and 1,000 more"
    assert beginning([], 2) == some([], 2) == ""


def test_what_is_counted_is_one_or_several():
    assert [counted(n, "image") for n in (0, 1, 1000)] == ["0 images", "1 image", "1,000 images"]


def test_of_a_long_value_the_beginning_is_shown():
    assert shown(["é"] * 10) == "['é', 'é', 'é', 'é', 'é', 'é', ...]"
    assert len(shown("x" * 1000)) == 200
