"""What a message to people is made of."""

import copy
import json
import pickle
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from panoptic_assets.tags.edits import EditError
from panoptic_assets.tags.exchange.formats import ExchangeError
from resources.errors import InputError, PlainError, UnavailableError, message, newer_format


def a_refusal(**values):
    return InputError("There is no run {key!r}.", id="no-such-run", **({"key": "greek"} | values))


def test_an_error_has_an_id_a_template_and_its_values_and_says_them():
    """DESIGN 11: a page says in French what the command line says in English."""
    error = InputError("{nb:,} of {share:.2f}, {key!r}.", id="some", nb=1234, share=0.5, key="a")
    assert str(error) == "1,234 of 0.50, 'a'."
    assert error.id == "some"
    assert error.template == "{nb:,} of {share:.2f}, {key!r}."
    assert error.values == {"nb": 1234, "share": 0.5, "key": "a"}


def test_braces_have_one_meaning_with_values_and_without():
    assert str(InputError("as in `{{k: 3}}`.", id="some")) == "as in `{k: 3}`."
    assert str(InputError("{what}: `{{k: 3}}`.", id="some", what="x")) == "x: `{k: 3}`."


@pytest.mark.parametrize("key", ["{key}", "{0}", "{", "}}", "{key.__class__}", "{nb:,}"])
def test_braces_in_a_value_are_never_taken_for_placeholders(key):
    error = a_refusal(key=key)
    assert str(error) == f"There is no run {key!r}."
    wrapped = InputError("{file}: {reason}", id="some", file=key, reason=error)
    assert str(wrapped) == f"{key}: There is no run {key!r}."


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (True, True),
        (None, None),
        (Path("a/b"), "a/b"),
        (date(2026, 11, 20), "2026-11-20"),
        ((3, 4), "(3, 4)"),
        (["a", Path("b")], ["a", "b"]),
        ({1: np.int64(2)}, {"1": 2}),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
    ],
)
def test_values_are_plain_data(given, kept):
    error = PlainError("It is {value}.", id="some", value=given)
    assert error.values == {"value": kept}
    assert type(error.values["value"]) is type(kept)
    assert str(error) == f"It is {kept}."
    assert json.loads(json.dumps(error.message)) == error.message


def test_a_message_inside_another_keeps_its_id_and_its_values():
    """So that a translator gets whole sentences, wherever they stand."""
    known = message("known are {names}", id="known-are", names="a, b")
    inner = EditError("there is no tag {tag!r}: {known}.", id="no-tag", tag="x", known=known)
    outer = InputError("{file}: {reason}", id="file-unusable", file="tags.csv", reason=inner)
    assert str(outer) == "tags.csv: there is no tag 'x': known are a, b."
    assert outer.values["reason"] == inner.message
    assert inner.values["known"]["id"] == "known-are"


def test_another_kind_of_error_says_the_same():
    error = EditError("{kind} needs {missing}.", id="fields-missing", kind="rename", missing="to")
    passed_on = ExchangeError.of(error)
    assert (type(passed_on), str(passed_on)) == (ExchangeError, "rename needs to.")
    assert passed_on.message == error.message
    refusal = UnavailableError.of(passed_on)
    assert (type(refusal), str(refusal)) == (UnavailableError, "Rename needs to.")
    assert refusal.message == error.message


class CountedError(InputError):
    """With an attribute of its own."""

    nb = 0


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_and_copying(protocol):
    """Errors of worker processes come through pickle."""
    error = InputError.of(EditError("{kind} needs {a!r}.", id="some", kind="rename", a="{b}"))
    counted = CountedError("{key} is gone.", id="gone", key="{x}")
    counted.nb = 3
    for one in (error, counted, UnavailableError("Away.", id="away"), newer_format("It", 3, 2)):
        for again in (pickle.loads(pickle.dumps(one, protocol)), copy.copy(one)):
            assert type(again) is type(one)
            assert (str(again), again.args) == (str(one), one.args)
            assert again.message == one.message
            assert again.__dict__ == one.__dict__
