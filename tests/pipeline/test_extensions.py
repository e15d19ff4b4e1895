"""Classes of other packages: which are offered, and why others are not."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from panoptic_assets.clustering.config import KIND as METHOD
from panoptic_assets.labels.config import KIND as LABELLER
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.spec.fields import OneLine


def made(kind, name="mine", needing=None, **parameters):
    """A class of another package; parameters are given by their types, and have no default."""
    fields: dict[str, Any] = {called: (of, ...) for called, of in parameters.items()}
    choice = create_model("Mine", __base__=kind.base, name=(Literal[name], name), **fields)
    if needing is not None:
        choice.needs = needing
    return choice


def reason(kind, choice):
    with pytest.raises(ValueError) as caught:
        kind.check_class(choice)
    return str(caught.value)


@pytest.mark.parametrize("name", ["mine", "my-method", "My_2nd", "_"])
def test_a_name_of_letters_digits_dashes_and_underscores_is_offered(name):
    METHOD.check_class(made(METHOD, name))


@pytest.mark.parametrize("name", ["", "-x", "2x", "été", "a b", "a.b", "a\n", 3])
def test_a_name_of_anything_else_is_not(name):
    assert f"a name like {name!r}" in reason(METHOD, made(METHOD, name))


def test_a_parameters_name_has_no_accents():
    assert "a parameter called 'été'" in reason(METHOD, made(METHOD, été=int))


@pytest.mark.parametrize("name", sorted(METHOD.taken))
@pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute")
def test_a_reserved_name_is_no_parameter_of_a_method(name):
    assert reason(METHOD, made(METHOD, **{name: int})) == f"no parameter can be called {name}"


SHOWN = [
    int,
    float | None,
    bool,
    OneLine,
    Annotated[Annotated[int, Field(ge=1)] | None, Field(le=9)],
    list[str],
    list[Annotated[float, Field(ge=0)]] | None,
    Literal["a", "b"],
]


@pytest.mark.parametrize("kind", SHOWN)
def test_a_type_that_the_page_lists_is_one_that_dagster_shows(kind):
    choice = made(METHOD, given=kind)
    METHOD.check_class(choice)
    shown = schema_of(choice).config_type.fields
    assert "given" in shown


@pytest.mark.parametrize(
    "kind",
    [
        tuple[float, float],
        dict[str, int],
        int | str,
        list[list[int]],
        list[Annotated[list[int], Field()]],
        list[int | None],
        list[Literal["a"]],
        Literal["a"] | None,
        Literal[1],
        list,
        Any,
    ],
    ids=str,
)
def test_a_type_that_no_form_shows_is_not_offered(kind):
    assert "its parameter given is no int" in reason(METHOD, made(METHOD, given=kind))


@pytest.mark.parametrize(
    ("kind", "default"),
    [(int, "3"), (float, "1"), (Literal["a", "b"], "c"), (Literal["a"], None), (list[int], ["x"])],
    ids=str,
)
def test_a_default_of_another_type_is_not_offered(kind, default):
    choice = create_model("Mine", __base__=made(METHOD), given=(kind, default))
    assert f"its parameter given is {default!r} by default" in reason(METHOD, choice)


@pytest.mark.parametrize(("kind", "default"), [(float, 1), (int, None), (Literal["a"], "a")])
def test_a_default_that_dagster_takes_is_offered(kind, default):
    choice = create_model("Mine", __base__=made(METHOD), given=(kind, default))
    METHOD.check_class(choice)
    assert "given" in schema_of(choice).config_type.fields


@pytest.mark.parametrize("needs", [["tags"], ("tags",), "tags", {"tags": 1}, {"money"}])
def test_what_is_needed_is_a_set_of_what_there_is(needs):
    assert f"its needs are {needs!r}, and can be a set of" in reason(
        METHOD, made(METHOD, needing=needs)
    )


@pytest.mark.parametrize("needs", [{"tags"}, frozenset({"tags"})])
def test_a_set_of_any_kind_says_what_is_needed(needs):
    METHOD.check_class(made(METHOD, needing=needs))


@pytest.mark.parametrize(
    ("kind", "need", "parameter", "of", "said"),
    [
        (LABELLER, "properties", "property", list[str], "text"),
        (LABELLER, "vectors", "vector_type", int, "text"),
        (LABELLER, "texts", "vector_type", int | None, "text"),
        (METHOD, "tags", "property", int, "text"),
        (METHOD, "tags", "tags", str, "list of texts"),
        (METHOD, "runs", "runs", int, "list of texts"),
        (METHOD, "runs", "runs", Literal["a"], "list of texts"),
    ],
)
def test_a_parameter_that_says_what_is_read_is_text(kind, need, parameter, of, said):
    expected = f"its parameter {parameter} says what is read, and is no {said}"
    assert reason(kind, made(kind, needing={need}, **{parameter: of})) == expected
    kind.check_class(made(kind, **{parameter: of}))  # of what it does not need it says nothing


@pytest.mark.parametrize("of", [str, str | None, OneLine, Literal["Sujet"]])
def test_a_property_is_named_by_text_of_any_form(of):
    LABELLER.check_class(made(LABELLER, needing={"properties"}, property=of))
