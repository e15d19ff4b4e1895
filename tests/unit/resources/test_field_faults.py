"""What is wrong with a field, in pydantic's words, and in others that say the same."""

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from panoptic_assets.spec.languages import language
from resources.errors import InputError, text_of
from resources.field_faults import explain_invalid


def refused(text):
    raise InputError("{text!r} is no name.", id="no-name", text=text)


class Asked(BaseModel, extra="forbid"):
    needed: int
    above: float = Field(default=1, gt=0, lt=9, allow_inf_nan=False)
    within: int = Field(default=1, ge=1, le=1_000_000)
    truth: bool = False
    text: str = Field(default="", max_length=3)
    some: list[int] = Field(default_factory=list)
    pairs: dict[str, int] = Field(default_factory=dict)
    choice: Literal["eom", "leaf"] = "eom"
    named: Annotated[str, AfterValidator(refused)] = ""

    @model_validator(mode="after")
    def checked(self):
        if self.within == 7:
            raise ValueError("Give anything but seven")
        return self


def found(**given):
    with pytest.raises(ValidationError) as raised:
        Asked.model_validate({"needed": 1, **given})
    return raised.value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("above", 0),
        ("above", 9),
        ("above", "nan"),
        ("above", "x"),
        ("above", []),
        ("within", 0),
        ("within", 2_000_000),
        ("within", 1.5),
        ("within", "x"),
        ("within", None),
        ("truth", "x"),
        ("truth", []),
        ("text", 7),
        ("text", "long"),
        ("some", 7),
        ("pairs", 7),
        ("choice", "x"),
        ("unknown", 7),
    ],
)
def test_a_fault_is_said_in_the_words_of_pydantic_and_in_french(field, value):
    error = found(**{field: value})
    [problem] = error.errors()
    said = explain_invalid(error)
    words = problem["msg"][0].lower() + problem["msg"][1:]
    assert text_of(said) == f"{field}: {words} (given: {value!r})"
    french = language("fr").message(said)
    assert french.startswith(f"{field}\u202f: ")
    assert words not in french


def test_what_is_missing_is_said_with_all_that_was_given():
    with pytest.raises(ValidationError) as raised:
        Asked.model_validate({})
    assert text_of(explain_invalid(raised.value)) == "needed: field required (given: {})"


def test_a_message_of_a_validator_stays_one():
    said = explain_invalid(found(named="x"))
    assert said["values"]["fault"]["id"] == "no-name"


def test_words_of_a_validator_are_kept():
    assert text_of(explain_invalid(found(within=7))) == "value: give anything but seven"


def test_of_many_faults_the_first_are_told_and_the_rest_counted():
    error = found(some=["a", "b", "c", "d", "e", "f", "g"])
    text = text_of(explain_invalid(error))
    assert text.startswith("some.0: input should be a valid integer")
    assert text.endswith("(given: 'e'); and 2 more")


def test_a_value_is_told_cut_and_never_taken_for_a_template():
    text = text_of(explain_invalid(found(choice="{value}" + "x" * 1000)))
    assert text.startswith("choice: input should be 'eom' or 'leaf' (given: '{value}x")
    assert len(text) < 200
