"""The form for a clustering has a field for whatever a configuration class says."""

from typing import Annotated, Literal

import annotated_types
import pytest
from pydantic import Field

from panoptic_assets.clustering.config import METHODS
from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.serve.form_page import form_field, told
from panoptic_assets.spec.extensions import name_of


class OfAnotherPackage(MethodConfig):
    """Divides by whatever a class may say.

    More that nobody needs in a list.
    """

    name: Literal["other"] = "other"
    whole: int = Field(default=3, ge=1, lt=10, description="A whole number.")
    share: float | None = Field(default=None, gt=0, le=1)
    way: Literal["a", "b"] = "b"
    exact: bool = True
    words: list[Annotated[str, annotated_types.MaxLen(7)]] = Field(default_factory=lambda: ["x"])
    numbers: list[float] | None = None
    text: Annotated[str, annotated_types.MaxLen(5)] = "abc"
    much: int = Field(default=1, json_schema_extra={"advanced": True})


def field_of(name, given=None, method=OfAnotherPackage):
    return form_field("config.method.other", name, method.model_fields[name], given)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whole", {"kind": "integer", "value": 3, "minimum": 1, "maximum": 9, "optional": False}),
        ("share", {"kind": "number", "value": None, "minimum": 0, "maximum": 1, "optional": True}),
        ("way", {"kind": "choice", "value": "b", "choices": (("a", "a"), ("b", "b"))}),
        ("exact", {"kind": "boolean", "value": True}),
        ("words", {"kind": "list", "part": "text", "value": ["x"], "lines": "x"}),
        ("numbers", {"kind": "list", "part": "number", "value": None, "lines": ""}),
        ("text", {"kind": "text", "value": "abc", "longest": 5}),
        ("much", {"kind": "integer", "advanced": True}),
    ],
)
def test_a_field_has_the_type_the_default_and_the_limits_of_its_class(name, expected):
    """A27: methods of other packages come with their own."""
    found = field_of(name)
    assert {part: getattr(found, part) for part in expected} == expected


def test_a_field_says_what_its_class_says_of_it():
    found = field_of("whole")
    assert (found.name, found.description) == ("config.method.other.whole", "A whole number.")


def test_what_is_given_takes_the_place_of_the_default():
    assert field_of("exact", given=False).value is False


def test_a_list_of_lists_has_no_place_in_a_form():
    class Deep(MethodConfig):
        corners: list[list[float]] = Field(default_factory=list)

    assert field_of("corners", method=Deep) is None


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_every_parameter_of_a_method_has_a_field(method):
    """A9, D43: all of them are there, the advanced ones too."""
    names = [name for name in method.model_fields if name != "name"]
    fields = [field_of(name, method=method) for name in names]
    assert [found.code for found in fields if found is not None] == names


def test_a_method_is_told_by_the_first_line_of_its_docstring():
    assert told(OfAnotherPackage) == "Divides by whatever a class may say."
