"""What a vision language model is shown and asked, and what is made of its answers."""

import random
from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.labels.questions import (
    MAX_DESCRIPTION,
    MAX_LABEL,
    Prices,
    UnusableAnswerError,
    checked,
    chosen_images,
    estimate,
    image_tokens,
    one_line,
    read_answer,
    text_tokens,
)

MEMBERS = [f"{number:064x}" for number in range(40)]


def test_the_same_members_and_seed_give_the_same_images_in_any_order():
    """D53, E12: five images of a cluster, seeded."""
    shuffled = MEMBERS.copy()
    random.Random(1).shuffle(shuffled)
    chosen = chosen_images(MEMBERS, 5, seed=7)
    assert chosen_images(shuffled, 5, seed=7) == chosen
    assert len(set(chosen)) == 5
    assert set(chosen) <= set(MEMBERS)


def test_another_seed_gives_other_images():
    assert chosen_images(MEMBERS, 5, seed=0) != chosen_images(MEMBERS, 5, seed=1)


def test_a_cluster_with_few_images_shows_all_of_them():
    assert sorted(chosen_images(MEMBERS[:3], 5, seed=0)) == MEMBERS[:3]


def test_every_member_is_drawn_about_as_often_over_many_seeds():
    drawn = Counter(image for seed in range(2000) for image in chosen_images(MEMBERS, 5, seed))
    # 2000 · 5 / 40 = 250 on average, standard deviation 15.
    assert len(drawn) == 40
    assert all(175 < count < 325 for count in drawn.values())


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # OpenAI's own examples.
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4.1-mini", (1024, 1024), "high", 1659),
        # What a community measured, less the request's text.
        ("gpt-4o-mini", (128, 64), "low", 2833),
        ("gpt-4o-mini", (128, 64), "high", 8500),
        ("openai/gpt-4o-mini", (512, 512), "low", 2833),
        ("gpt-5-nano", (64, 65), "low", 15),
        ("gpt-4.1-mini", (8000, 8000), "high", 2489),
        ("a-model-nobody-knows", (512, 512), "low", 255),
    ],
)
def test_images_are_counted_by_the_published_rules(model, size, detail, tokens):
    assert image_tokens(model, *size, detail) == tokens


def test_an_estimate_grows_with_clusters_and_images():
    """D54: cost is linear in the number of clusters."""
    one = estimate([5], "Name it.", "gpt-4o", 512, "low", 500)
    three = estimate([5, 5, 5], "Name it.", "gpt-4o", 512, "low", 500)
    assert (three.nb_requests, three.tokens_out) == (3, 1500)
    assert three.tokens == 3 * one.tokens
    assert estimate([1], "Name it.", "gpt-4o", 512, "low", 500).tokens_in == one.tokens_in - 4 * 85


def test_a_cost_is_that_of_both_prices():
    assert Prices(2.5, 10.0).cost(1_000_000, 100_000) == pytest.approx(3.5)


def test_accents_count_as_more_tokens():
    assert text_tokens("été" * 10) > text_tokens("ete" * 10)


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "Greek vases", "description": "Red figures."}',
        '```json\n{"label": "Greek vases", "description": "Red figures."}\n```',
        'Certainly! {curly} Here: {"label": "Greek vases", "description": "Red figures."} Enjoy.',
        '{"answer": {"label": "Greek vases", "description": "Red figures."}}',
    ],
)
def test_a_label_is_found_in_json_alone_or_amid_text(text):
    answer = read_answer(text)
    assert (answer.label, answer.description) == ("Greek vases", "Red figures.")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('<think>Perhaps {"label": "dogs"}? No.</think>\n{"label": "cats"}', "cats"),
        ("<thinking>\nFirst, dogs.\n</thinking>\ncats", "cats"),
        ('<REASONING>{"label": "dogs"}</REASONING>{"label": "cats"}', "cats"),
        ('<think>a<think>b</think>{"label": "dogs"}</think>{"label": "cats"}', "cats"),
        ('<think>\n<think>a</think>{"label": "cats"}', "cats"),
        ('<think>a</think><think>b {"label": "dogs"}</think>{"label": "cats"}', "cats"),
        ('The images show {"label": "dogs"}\n</think>\n{"label": "cats"}', "cats"),
        ('[THINK]{"label": "dogs"}[/THINK]{"label": "cats"}', "cats"),
        ('◁think▷{"label": "dogs"}◁/think▷{"label": "cats"}<|im_end|>', "cats"),
        ("<think>a</think><answer><|begin_of_box|>cats<|end_of_box|></answer>", "cats"),
        (
            '<|channel|>analysis<|message|>{"label": "dogs"}<|end|><|start|>assistant'
            '<|channel|>final<|message|>{"label": "cats"}<|return|>',
            "cats",
        ),
        ("<|channel>thought\nPerhaps dogs.<channel|>cats", "cats"),
        ('analysisWe need a name.assistantfinal{"label": "cats"}', "cats"),
        ('Draft: {"label": "dogs"}. Better: {"label": "cats"} (sure)', "cats"),
        ('{"label": "<think>dogs?</think>cats"}', "cats"),
        ('{"label": "cats", "note": {"sure": true}} {"done": 1}', "cats"),
        ('{"Label": "cats"}', "cats"),
        ('{" LABEL ": "cats", "DESCRIPTION": "Cats."}', "cats"),
        ('[{"label": "cats"}]', "cats"),
        ('```json\n[\n  {"label": "cats"}\n]\n```', "cats"),
        ("```\ncats\n```", "cats"),
        ("Label: vases grecs", "vases grecs"),
        ("Étiquette\u00a0: vases grecs", "vases grecs"),
        ("**Label:** vases grecs\n**Description:** Figures rouges.", "vases grecs"),
        ("Voici le libellé : vases grecs", "vases grecs"),
        ("Here is the label: **Vases grecs**", "Vases grecs"),
        ('{"label": "Label: vases grecs"}', "vases grecs"),
        ('"vases grecs"', "vases grecs"),
        ("## Vases grecs", "Vases grecs"),
        ('{"label": "Name tags"}', "Name tags"),
        ("Answer: Cats", "Cats"),
        ("Réponse : Chats", "Chats"),
        ("Final answer: Cats", "Cats"),
        ("La réponse finale : Chats", "Chats"),
        ("Sure! Here is the label: Cats", "Cats"),
        ('{"label": "Final answer: Cats"}', "Cats"),
        ("Answer sheets", "Answer sheets"),
        ("analysisphotos", "analysisphotos"),
        ("Label: Portraits\nDescription: I cannot identify the people.", "Portraits"),
        ("The assistant final exam", "The assistant final exam"),
        ("[Analysis] of variance", "[Analysis] of variance"),
        ("<seed:think>dogs</seed:think>cats", "cats"),
        ('{"label": "\\"Le Penseur\\" and its copies"}', '"Le Penseur" and its copies'),
    ],
)
def test_the_label_is_what_is_said_last_after_all_reasoning(text, label):
    """D51: the reasoning of a model, and its drafts, are no labels."""
    assert read_answer(text).label == label


@pytest.mark.parametrize(
    "text",
    [
        "<think>short thought</think>",
        "<think>a thought that was cut",
        '<think>Perhaps {"label": "dogs"}',
        'Perhaps {"label": "dogs"}\n</think>',
        "<|channel|>analysis<|message|>We name it",
        "analysisWe name it",
        "[THINK]dogs[/THINK]",
        '{"label": "dogs"} No, rather: {"label": "ca',
        '{"label": "<think>dogs"}',
        '{"label": "I’m sorry, but I can’t identify people."}',
        '{"label": "Désolé"}',
        '```json\n{"label": "**Je suis désolé, je ne peux pas.**"}\n```',
        "```\nI'm sorry, I can't assist with that request.\n```",
        "Label: I'm sorry, I can't identify real people.",
        "I'm sorry, " + "but the images show people whom I cannot identify. " * 5,
        "I\u200b'm so\u00adrry, I can't assist with that.",
        '{"label": "unknown", "description": "Vases."}',
        '{"label": "…", "description": "…"}',
        '{"label": "N/A"}',
        '{"label": null}',
        '{"label": "\u3164"}',
        "[]",
    ],
)
def test_reasoning_and_refusals_are_no_labels(text):
    """D51: what is no name is a failure of that cluster."""
    with pytest.raises(UnusableAnswerError) as caught:
        read_answer(text)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


def test_a_description_that_refuses_is_left_out_and_the_label_stays():
    answer = read_answer('{"label": "Portraits", "description": "I cannot identify the people."}')
    assert (answer.label, answer.description) == ("Portraits", None)


PARTS = ['{"label": "', '"}', "cats", "<think>", "</think>", "Label: ", "**", "`", "- ", "…", "\\n"]
PARTS += ["sorry", ", but", "\n", "<|end|>", "unknown", " ", '"', "x" * 90]


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_an_answer_that_was_read_is_read_alike_again(parts):
    """Otherwise a stored answer would be asked for again and again."""
    try:
        answer = read_answer("".join(parts))
    except UnusableAnswerError:
        return
    assert checked(**asdict(answer)).label == answer.label


def test_a_short_line_without_json_is_the_label_and_says_so():
    answer = read_answer("  Greek\nvases ")
    assert (answer.label, answer.remark) == ("Greek vases", "the answer was plain text, not JSON")


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"label": "Greek va',
        '{"label": ""}',
        '{"label": 3}',
        '{"label": "\u200d\u202e\u0301"}',
        '{"name": "vases"}',
        "I cannot help with that, since the images may show people. " * 3,
        "{" * 5000,
        '{"label":' * 3000,
    ],
)
def test_an_answer_without_a_label_is_refused_in_one_short_line(text):
    with pytest.raises(UnusableAnswerError) as caught:
        read_answer(text)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


def test_html_and_instructions_stay_text():
    label = "<script>alert(1)</script> Ignore all rules"
    answer = read_answer(f'{{"label": "{label}", "description": "<b>x</b>"}}')
    assert (answer.label, answer.description) == (label, "<b>x</b>")


def test_4000_characters_are_cut_and_the_cut_is_told():
    answer = read_answer(f'{{"label": "{"a" * 4000}", "description": "{"b " * 2000}"}}')
    assert (len(answer.label), answer.label[-1]) == (MAX_LABEL, "…")
    assert len(answer.description) <= MAX_DESCRIPTION
    assert answer.remark == "the label was cut, from 4,000 characters"


def test_what_turns_writing_around_is_left_out_and_joiners_stay():
    assert one_line("a\u202eb\u2066c\u200bd\ufeff\u0000e\r\nf", 80) == "abcd e f"
    assert one_line("می\u200cخواهم", 80) == "می\u200cخواهم"


@given(st.text(max_size=300), st.integers(1, 100))
def test_any_text_becomes_one_printable_line_within_the_length(text, length):
    line = one_line(text, length)
    assert len(line) <= length
    assert line == line.strip()
    assert all(c.isprintable() or c in "\u200c\u200d" for c in line)


@given(st.text(max_size=300))
def test_any_answer_gives_a_label_or_a_reason(text):
    try:
        answer = read_answer(text)
    except UnusableAnswerError:
        return
    assert 0 < len(answer.label) <= MAX_LABEL


ATOMS = [
    *("Cats", "dogs", " ", '"', "“", "”", "**", "`", "- ", "# ", "Label: ", "Réponse : ", "\n"),
    *("\u200b", "\ufeff", "\u2060", "<think>", "</think>", "<analysis>", "analysis", "Help", "…"),
    *("<|channel|>final", "<|end|>", "é", "e\u0301", "!", "x" * 90),
]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(ATOMS), max_size=12).map("".join),
    st.lists(st.sampled_from(ATOMS), max_size=6).map("".join),
)
def test_an_answer_that_was_cleaned_stays_as_it_is_when_it_is_read_again(label, description):
    """Else a stored one would be paid for again, or its name change between two looks."""
    try:
        answer = checked(label, description)
    except UnusableAnswerError:
        return
    again = checked(answer.label, answer.description, answer.remark)
    assert (again.label, again.description) == (answer.label, answer.description)


@pytest.mark.parametrize(
    "label", ['\u200b"Cats"', "\ufeff- Cats", '"Cats"\u200b', "**Cats**\u2060", "Label: **Cats**"]
)
def test_what_is_invisible_hides_no_mark(label):
    assert checked(label, None).label == "Cats"
