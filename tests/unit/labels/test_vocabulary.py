"""Vocabularies: which terms there are, and which includes which."""

import unicodedata

import pytest

from panoptic_assets.labels.vocabulary import (
    LONGEST_TERM,
    MAX_TERMS,
    VocabularyError,
    shipped,
    term_paths,
    terms_of_lines,
    terms_of_table,
)

ALONE = ("{}",)


def test_each_line_is_a_term_and_empty_lines_are_none():
    found = terms_of_lines("cat\r\n\n  a   dog \n", ("{}", "a photo of a {}"))
    assert found.terms == ("cat", "a dog")
    assert found.texts[1] == ("a dog", "a photo of a a dog")
    assert found.broader == (-1, -1)


def test_terms_that_differ_in_case_or_in_the_form_of_their_accents_are_one():
    decomposed = unicodedata.normalize("NFD", "Éolienne")
    found = terms_of_lines(f"éolienne\n{decomposed}\nÉOLIENNE\nmoulin", ALONE)
    assert (found.terms, found.nb_repeated) == (("éolienne", "moulin"), 2)


def test_markup_is_text_and_what_turns_the_direction_of_writing_is_left_out():
    found = terms_of_lines("<script>alert(1)</script>\nabc\u202edef\x1b[31m\n\u2067", ALONE)
    assert found.terms == ("<script>alert(1)</script>", "abc def [31m")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_has_terms_with_prompts_and_broader_terms(delimiter):
    text = "Term,prompt,broader\ncrane,crane (bird),bird\nbird,,\n".replace(",", delimiter)
    found = terms_of_table(text, ("{}", "a {}"))
    assert found.terms == ("crane", "bird")
    assert found.texts == (("crane (bird)", "a crane (bird)"), ("bird", "a bird"))
    assert found.broader == (1, -1)


@pytest.mark.parametrize(
    "text",
    [
        "term;notes;notes\nwind turbine;a;b\n",
        "term;\nwind turbine;my note\n",
        "term\t\nwind turbine\tnote\n",
        ";term\nmy note;wind turbine\n",
    ],
)
def test_columns_that_mean_nothing_here_may_hold_anything(text):
    assert terms_of_table(text, ALONE).terms == ("wind turbine",)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (terms_of_lines, "", "it has no term"),
        (terms_of_lines, "\n \u202e\n", "it has no term"),
        (terms_of_lines, f"cat\n{'x' * (LONGEST_TERM + 1)}", "line 2 has 201 characters"),
        (terms_of_lines, "\n".join(map(str, range(MAX_TERMS + 1))), "more than 10,000 terms"),
        (terms_of_table, "", "it has no term"),
        (terms_of_table, "word\ncat\n", "names no column `term`"),
        (terms_of_table, "term,prompt\na,b,c\n", "line 2 has 3 cells, the header has 2"),
        (terms_of_table, 'term\n"cat', "line 2 cannot be read"),
        (terms_of_table, "term,Term\ncat,dog\n", "two columns have the name 'term'"),
        (terms_of_table, "term,broader\ncat,animal\n", "line 2 names 'animal' as the broader term"),
        (terms_of_table, "term,broader\na,b\nb,c\nc,b\n", "broader than itself"),
        (terms_of_table, "term,broader\na,A\n", "broader than itself"),
    ],
)
def test_what_is_no_vocabulary_is_refused_in_one_line_that_says_where(read, text, message):
    with pytest.raises(VocabularyError, match=message) as caught:
        read(text, ALONE)
    assert len(str(caught.value).splitlines()) == 1


def test_tags_above_are_broader_terms_and_shared_names_are_told_apart():
    found = term_paths(["Greek > amphora", "Roman > amphora", "Roman > villa", "Roman"], ALONE)
    assert found.terms == ("Greek", "amphora (Greek)", "Roman", "amphora (Roman)", "villa")
    assert found.texts[1] == ("Greek, amphora",)
    assert [found.terms[place] if place >= 0 else "" for place in found.broader] == [
        "", "Greek", "", "Roman", "Roman",
    ]  # fmt: skip


SHIPPED = """en,fr,en_prompt,fr_prompt,broader
crane,grue,crane (bird),grue (oiseau),bird
bird,oiseau,,,
"""


def test_names_in_french_are_looked_for_by_english_sentences():
    found = shipped(SHIPPED, "fr")
    assert found.terms == ("grue", "oiseau")
    assert found.texts[0] == ("crane (bird)", "a photo of a crane (bird)")
    assert found.broader == (1, -1)


def test_templates_that_are_given_take_the_names_of_their_language():
    assert shipped(SHIPPED, "fr", ["gravure : {}"]).texts == (
        ("gravure : grue (oiseau)",),
        ("gravure : oiseau",),
    )
